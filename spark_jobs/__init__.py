"""Spark jobs: what reads raw logs and tables and stages tables."""
