"""How `ctr` reaches the training room, which it does not import: as a process of its own."""

import os
import subprocess
import sys

from include.settings import PROJECT


def training(*arguments: str) -> int:
    """Runs `python -m training …` and returns its exit status; what it prints is the command's."""
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "training", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}).returncode
