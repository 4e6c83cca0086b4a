"""A test run's own environment, and what it leaves behind: processes and temporary files, which fail it.

Every process that a run starts inherits `CTR_TEST_RUN`, the run's folder, also one that has become a daemon.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

import psutil
import pytest

RUN = "CTR_TEST_RUN"
_ELSEWHERE = ("CTR_", "AIRFLOW_", "SPARK_", "PYSPARK_", "HADOOP_", "MLFLOW_", "GX_", "PYTEST_ADDOPTS")
"""Starts of the variables that would change what is tested; `CTR_TEST_…` is meant for the tests."""
_ENDING_SECONDS = 15.0
"""How long processes that were asked to end may take."""


def use_own_environment() -> Path:
    """Takes out the settings of the shell, of `.env` and of what `make demo` left here, and gives this process and all that it
    starts a folder for temporary files; returns the run's folder."""
    for name in [*os.environ]:
        if name.startswith(_ELSEWHERE) and not name.startswith("CTR_TEST_"):
            del os.environ[name]
    # Else each of some hundred Python processes would compile the project anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    folder = Path(tempfile.mkdtemp(prefix="ctr-tests-"))
    temporary = folder / "tmp"
    temporary.mkdir()
    os.environ |= {
        RUN: str(folder),
        "CTR_ENV_FILE": "",
        "CTR_HOME": str(folder / "home"),
        "TMPDIR": str(temporary),
        "SPARK_LOCAL_DIRS": str(temporary),
        "PYTEST_DEBUG_TEMPROOT": str(folder),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "torchinductor"),
    }
    tempfile.tempdir = None
    return folder


class Leftovers:
    """Looks at a run's end for what is left; the process does that a person started, not its workers."""

    def __init__(self, folder: Path, seconds: float = _ENDING_SECONDS) -> None:
        self._folder, self._seconds = folder, seconds
        self._found: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fails the run where something is left, ends what runs, and deletes the folder of a run without faults."""
        deadline = time.monotonic() + self._seconds
        while (processes := self._processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        self._found = [f"process {process.pid}: {' '.join(process.cmdline())[:300]}" for process in processes]
        kept = {*(self._folder / "tmp").iterdir()} - {
            *(self._folder / "tmp").glob("db_init_lock-*")
        }  # MLflow's, one a database
        self._found += [f"file {path}" for path in sorted(kept)]
        for process in processes:
            process.kill()
        if self._found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            shutil.rmtree(self._folder)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Names what was left, and where the files of failed tests lie."""
        if self._found:
            terminalreporter.section("left behind by the tests", red=True)
            terminalreporter.write_line("\n".join(self._found))
        if self._folder.exists():
            terminalreporter.write_line(f"Files of tests that failed: {self._folder}")

    def _processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._is_of_run(process)]

    def _is_of_run(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(RUN) == str(self._folder)
        except psutil.Error:
            return False
