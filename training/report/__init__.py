"""The night in one page, and in ten lines. May import `evaluate` and what that may."""
