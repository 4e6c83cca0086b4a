"""Memory and processor time of what a measurement starts."""

import json
import subprocess
import sys

from include.setting_groups import PROJECT

WATCHED = """
import json, subprocess, sys
from benchmarks.machine import Watch

busy = "import time; kept = bytearray(100 << 20); kept[::4096] = b'x' * len(kept[::4096]); time.sleep(0.8)"
with Watch() as watch:
    for _ in range(3):
        subprocess.run([sys.executable, "-c", busy], check=True)
print(json.dumps(watch.taken))
"""


def test_processes_after_one_another_do_not_add_up():
    """In a process of its own: this one may have a Spark or an Airflow beside it, which would be counted."""
    taken = json.loads(subprocess.check_output([sys.executable, "-c", WATCHED], cwd=PROJECT, text=True))
    assert 100 <= taken["python_peak_mib"] < 200
    assert taken["jvm_peak_mib"] == 0
    assert taken["wall_seconds"] > 2.4
