"""Airflow's command line, where the libraries that the DAGs import are loaded once, before it forks its tasks.

    python -m include.airflow_control.preloaded_airflow scheduler

A task of the LocalExecutor, and a parse of the DAG processor, is a fork: it has them then, a second sooner. The project's own
modules are loaded by each anew, so that a change of code or settings holds from the next task on.
"""

import importlib
import sys

_OWN = "include"


def preload() -> None:
    """Import what the DAGs do, and forget the modules that are the project's own."""
    importlib.import_module("include.orchestration.operators")
    importlib.import_module("include.lake.lake")
    for name in [name for name in sys.modules if name.partition(".")[0] == _OWN]:
        del sys.modules[name]


if __name__ == "__main__":
    preload()
    from airflow.__main__ import main

    main()
