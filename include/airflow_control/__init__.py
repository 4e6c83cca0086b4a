"""Starts an Airflow and talks to one from outside: `ctr backfill`, the demo, the health check. May import all
of `include` but `cli`."""
