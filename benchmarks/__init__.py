"""Benchmarks beside peers on the same machine: each prints a table and writes JSON."""
