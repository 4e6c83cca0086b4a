"""Calls of `training`, as a process of its own, from packages that do not import it."""

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import NoReturn

from include.console import WARNING
from include.errors import CtrError, NothingToDoError
from include.orchestration.child_process import end_with_parent
from include.orchestration.preloaded import preloaded
from include.records import TrialService
from include.settings import python_path


def training(*arguments: str) -> int:
    """Run `python -m training …` and return its exit status; what it prints is the command's."""
    return subprocess.run(_command(arguments), env=_environment()).returncode


def run_logged(log: Path, *arguments: str) -> list[str]:
    """Run `python -m training …`, append what it prints to a file, and return its warnings; it ends when this process does.

    Raises `CtrError`, or `NothingToDoError` where it had nothing to do, with the command's own message.
    """
    with log.open("a+") as file:
        began = file.tell()
        environment = {**_environment(), "COLUMNS": "300"}  # so that messages are not broken into lines
        command = [*end_with_parent(), *_command(arguments)]
        done = subprocess.run(command, env=environment, stdout=file, stderr=file)
        file.seek(began)
        lines = file.read()
        if done.returncode:
            message = lines[-4000:].rpartition("Error: ")[2].strip()
            kind = NothingToDoError if done.returncode == NothingToDoError.exit_status else CtrError
            raise kind(f"training {arguments[0]}: {message}\nIts log: {log}")
    return [line.removeprefix(WARNING) for line in lines.splitlines() if line.startswith(WARNING)]


def exec_training(*arguments: str) -> NoReturn:
    """Turn this process into `python -m training …` as `ctr …`: a signal to stop a service reaches the service."""
    command = [sys.executable, "-c", "from training.__main__ import main; main('ctr')", *arguments]
    os.execve(command[0], command, _environment())  # noqa: S606


def write_report(day: date) -> None:
    """Write the report of a day again (`training/report/report.py`); raises `CtrError` with what is wrong."""
    done = subprocess.run(_command(("report", "--day", str(day))), env=_environment(), capture_output=True, text=True)
    if done.returncode:
        raise CtrError(f"The report of {day} could not be written again: {done.stderr[-2000:]}")


def verify(version: int) -> TrialService:
    """Serve a version on a free port, request its probe (`training/serve/trial.py`) and return the result.

    Raises `CtrError` with what is wrong with it.
    """
    command = preloaded(_command(("verify", "--version", str(version), "--json")))
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True)
    if done.returncode:
        try:
            message = json.loads(done.stdout)["error"]
        except (ValueError, KeyError):
            message = done.stderr[-2000:]
        raise CtrError(f"Version {version} cannot serve, so the champion stays: {message}")
    return TrialService.model_validate_json(done.stdout)


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "training", *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": python_path()}
