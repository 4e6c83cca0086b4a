"""Airflow's command line, where the libraries that the DAGs import are loaded once, before it forks its tasks.

    python -m include.airflow_control.preloaded_airflow scheduler

A task of the LocalExecutor, and a parse of the DAG processor, is a fork: it has them then, a second sooner. The project's own
modules are loaded by each anew, so that a change of code or settings holds from the next task on.
"""

from include.airflow_control.preloaded_jobs import preload

if __name__ == "__main__":
    preload(["include.orchestration.operators", "include.lake.lake"])
    from airflow.__main__ import main

    main()
