"""A program that a killed command has started ends with it."""

import os
import signal
import subprocess
import sys

import psutil
from waiting import wait_for

PARENT = """
import subprocess, time
from include.orchestration.child_process import end_with_parent
print(subprocess.Popen([*end_with_parent(), "sleep", "600"]).pid, flush=True)
time.sleep(600)
"""


def test_a_child_ends_when_its_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        wait_for(lambda: child.name() == "sleep", 10, "the child did not start")
        os.kill(parent.pid, signal.SIGKILL)
        wait_for(lambda: not psutil.pid_exists(child.pid), 10, "the child still runs")
