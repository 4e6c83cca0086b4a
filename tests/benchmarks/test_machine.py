"""Memory and processor time of what a measurement starts."""

import subprocess
import sys

from benchmarks.machine import Watch


def test_processes_after_one_another_do_not_add_up():
    busy = "import time; kept = bytearray(100 << 20); kept[::4096] = b'x' * len(kept[::4096]); time.sleep(0.8)"
    with Watch() as watch:
        for _ in range(3):
            subprocess.run([sys.executable, "-c", busy], check=True)
    assert 100 <= watch.taken["python_peak_mib"] < 200
    assert watch.taken["jvm_peak_mib"] == 0
    assert watch.taken["wall_seconds"] > 2.4
