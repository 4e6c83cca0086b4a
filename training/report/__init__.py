"""The night as one page, and as a few lines. May import `evaluate` and what that may."""
