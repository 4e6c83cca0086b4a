"""Airflow's processes that fork have the libraries of the DAGs, and none of the project's own modules."""

import subprocess
import sys

from include.setting_groups import PROJECT

CODE = """
import sys
from include.airflow_control.preloaded_jobs import preload
preload(["include.orchestration.operators", "include.lake.lake"])
assert not [name for name in sys.modules if name.partition(".")[0] in ("include", "training", "spark_jobs", "plugins")]
before = {name.partition(".")[0] for name in sys.modules}
import include.orchestration.operators
print(sorted({name.partition(".")[0] for name in sys.modules} - before - {"include"}))
"""


def test_libraries_are_loaded_once_and_own_modules_by_each_task():
    done = subprocess.run([sys.executable, "-c", CODE], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
