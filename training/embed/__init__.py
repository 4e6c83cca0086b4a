"""The two jobs that fill the cache of texts' vectors. May import `learn` and what that may."""
