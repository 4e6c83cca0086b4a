"""Scores of lists and over HTTP, with the champion. May import `evaluate`, `learn` and what those may."""
