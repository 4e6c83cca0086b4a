"""Spark jobs, which read raw logs and tables and stage tables."""
