"""Metrics of a model on a day that it has not seen. May import `learn` and what `learn` may."""
