"""The two jobs that fill the cache of text vectors. May import `learn` and what that may."""
