"""Start of a local Airflow and calls of any Airflow: `ctr backfill`, the demo, the health check. May import all of `include`
but `cli`."""
