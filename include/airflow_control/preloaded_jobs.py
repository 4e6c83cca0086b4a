"""Runs the programs of the local Airflow's tasks as forks of one process, where the libraries that they import are loaded once.

    python -m include.airflow_control.preloaded_jobs SOCKET

Importing Great Expectations, torch and MLflow takes longer than the work of a small night, and so does the start of a JVM that
loads and compiles Spark. Each program is a process of its own, with fresh modules of this project, so that a change of code or
settings holds from the next one on. Spark jobs run one after another in a JVM that is kept, each with a Spark context of its
own. A JVM serves jobs that are started with the same options and settings, until one of them fails, several have run or none
has come for some minutes.

Clients (`include/orchestration/preloaded.py`) send a command, an environment and the files of their output, and get the exit
status; the socket is its owner's alone. A command of another checkout or Python is left to its client, and so is a Spark job that
is not to wait for another, or would be waited for by one.
"""

import ctypes
import importlib
import json
import logging
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from include.airflow_control.kept_jvm import KeptJvm, release_jvm
from include.orchestration.preloaded import RUN_IT_YOURSELF, runs_in

log = logging.getLogger(__name__)

OWN = ("include", "spark_jobs", "training")
_PROGRAMS = (
    "spark_jobs.history",
    "training.embed.embed_cold",
    "training.learn.train",
    "training.evaluate.evaluation",
    "training.evaluate.baseline",
    "training.gate.gate",
    "training.monitor.monitor",
    "training.report.report",
    "training.serve.trial",
)
_LIBRARIES = (
    "great_expectations.expectations",
    "matplotlib.pyplot",
    "mlflow",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.ensemble",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
)
"""What the programs import only where they need it."""
_STOP_SECONDS = 10
_POLL_SECONDS = 1.0
_SHORT_POLL_SECONDS = 0.05
_PR_SET_PDEATHSIG = 1


def preload(modules: Iterable[str]) -> None:
    """Import modules with all that they import, and forget those that are the project's own."""
    for name in modules:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]


@dataclass(eq=False)
class _Job:
    """A client's program: what it asked for, and its process while it runs."""

    client: socket.socket
    output: list[int]
    command: list[str]
    environment: dict[str, str]
    folder: str
    umask: int
    waits: bool
    process: BaseProcess | None = None
    exit: int = -1
    kill_at: float | None = None

    @property
    def is_spark(self) -> bool:
        """Whether it needs the JVM."""
        return Path(self.command[0]).name == "spark-submit"

    def split(self) -> tuple[list[str], list[str]]:
        """Return the options of spark-submit, without the name, and the program with its arguments."""
        at = next(n for n, part in enumerate(self.command) if part.endswith(".py"))
        options = self.command[1:at]
        if "--name" in options:  # the job sets its own
            named = options.index("--name")
            del options[named : named + 2]
        return options, self.command[at:]

    def say(self, line: str) -> None:
        """Write a line to its standard error; whoever read that may have gone."""
        with suppress(OSError):
            os.write(self.output[1], f"{line}\n".encode())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program and to what it has started."""
        assert self.process is not None
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self) -> None:
        """Ask the program to end, as its client has gone."""
        if self.process is not None and self.kill_at is None:
            self.signal(signal.SIGTERM)
            self.kill_at = time.monotonic() + _STOP_SECONDS


class Server:
    """Takes commands from the listening socket until it is interrupted, and ends then all that it has started."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._jobs: list[_Job] = []
        self._jvm: KeptJvm | None = None

    def serve(self) -> None:
        """Take commands, for ever."""
        try:
            while True:
                self._turn()
        finally:
            self._stop()

    def _turn(self) -> None:
        clients = {job.client: job for job in self._jobs if job.kill_at is None}
        running = {job.exit: job for job in self._jobs if job.process is not None}
        seconds = _SHORT_POLL_SECONDS if self._jvm and self._jvm.changing else _POLL_SECONDS
        ready: list[Any] = wait([self._listener, *clients, *running], timeout=seconds)
        for source in ready:
            if source is self._listener:
                self._accept()
            elif source in running:
                self._finish(running[source])
        for source in ready:  # a client that is heard from before its job has ended has gone
            if source in clients and clients[source] in self._jobs:
                self._abandon(clients[source])
        for job in self._jobs:
            if job.kill_at and job.process and time.monotonic() > job.kill_at:
                job.signal(signal.SIGKILL)
        self._tend_jvm()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            log.exception("A client could not be accepted")
            return
        client.settimeout(_STOP_SECONDS)
        output: list[int] = []
        try:
            _, output, _, _ = socket.recv_fds(client, 1, 2)
            request = json.loads(client.makefile().readline())
            own = request.pop("runs_in") == runs_in()
            job = _Job(client, output, **request)
            if job.is_spark:
                job.split()
        except (OSError, ValueError, KeyError, TypeError, StopIteration, IndexError):
            log.exception("A client's command could not be read")
            self._close(client, output)
            return
        client.settimeout(None)
        self._jobs.append(job)
        others = [other for other in self._jobs if other.is_spark and other is not job]
        takes_turns = job.waits and all(other.waits for other in others)
        if not own or (job.is_spark and others and not takes_turns):
            self._answer(job, RUN_IT_YOURSELF)
        elif not job.is_spark:
            self._start(job, job.command, {})
        elif others:
            job.say("Waiting for another Spark job of this machine.")

    def _tend_jvm(self) -> None:
        """Start the first Spark job that waits, where none runs and the JVM is there; start or end that."""
        if self._spark_runs():
            return
        job = next((job for job in self._jobs if job.is_spark), None)
        if self._jvm and (self._jvm.idle if job is None else not self._jvm.serves(*self._needs(job))):
            self._jvm.end()
        if self._jvm and self._jvm.gone():
            self._jvm = None
        if job is None:
            return
        try:
            self._jvm = self._jvm or KeptJvm(*self._needs(job))
            address = self._jvm.address() if self._jvm.serves(*self._needs(job)) else None
        except OSError as error:
            job.say(f"Spark did not start: {error}")
            self._answer(job, 1)
            if self._jvm:
                self._jvm.end()
            return
        if address:
            self._jvm.begin_job()
            self._start(job, job.split()[1], address)

    def _needs(self, job: _Job) -> tuple[list[str], Mapping[str, str], int]:
        return job.split()[0], job.environment, job.umask

    def _spark_runs(self) -> bool:
        return any(job.is_spark and job.process is not None for job in self._jobs)

    def _start(self, job: _Job, program: list[str], more: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("fork")
        process = context.Process(target=self._run, args=(job, program, {**job.environment, **more}, os.getpid()))
        try:
            process.start()
        except OSError as error:
            job.say(f"The program did not start: {error}")
            self._answer(job, 1)
            return
        assert process.pid is not None
        with suppress(OSError):  # it does the same: whoever comes first
            os.setpgid(process.pid, process.pid)
        job.process = process
        # A sentinel of multiprocessing is kept open by what the program forks.
        job.exit = os.pidfd_open(process.pid) if sys.platform == "linux" else process.sentinel

    def _run(self, job: _Job, program: list[str], environment: dict[str, str], server: int) -> None:
        """Become the program, in the forked process."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _end_with(server)
        with suppress(OSError):
            os.setpgid(0, 0)
        self._listener.close()
        for number, descriptor in zip((1, 2), job.output, strict=True):
            os.dup2(descriptor, number)
        for other in self._jobs:  # whoever reads the output of another program would wait for the end of this one
            self._close(other.client, other.output)
        if self._jvm:
            self._jvm.let_go()
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(job.folder)
        os.umask(job.umask)
        time.tzset()
        tempfile.tempdir = None
        paths = environment.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:0] = [path for path in paths if path and path not in sys.path]
        if job.is_spark:
            sys.argv = program
            try:
                runpy.run_path(program[0], run_name="__main__")
            finally:
                release_jvm()
        else:
            sys.argv = program[2:]  # python -m training …
            runpy.run_module(program[2], run_name="__main__", alter_sys=True)

    def _finish(self, job: _Job) -> None:
        assert job.process is not None
        job.process.join()
        status = job.process.exitcode or 0
        if sys.platform == "linux":
            os.close(job.exit)
        self._answer(job, 128 - status if status < 0 else status)
        if job.is_spark and self._jvm:
            self._jvm.end_job()
            if status:
                self._jvm.end()  # with all that the job may have left running there

    def _answer(self, job: _Job, status: int | str) -> None:
        with suppress(OSError):
            job.client.sendall(f"{status}\n".encode())
        self._jobs.remove(job)
        self._close(job.client, job.output)

    def _abandon(self, job: _Job) -> None:
        """End a job whose client has gone."""
        if job.process is None:
            self._jobs.remove(job)
            self._close(job.client, job.output)
        else:
            job.stop()

    def _close(self, client: socket.socket, output: list[int]) -> None:
        client.close()
        for descriptor in output:
            os.close(descriptor)

    def _stop(self) -> None:
        """End the programs and the JVM."""
        for job in self._jobs:
            job.stop()
        for job in self._jobs:
            if job.process is not None:
                job.process.join(_STOP_SECONDS)
                job.signal(signal.SIGKILL)
        if self._jvm:
            self._jvm.end()
            while not self._jvm.gone():
                time.sleep(_SHORT_POLL_SECONDS)


def _end_with(server: int) -> None:
    """Let this process be killed when the server ends, however that ends: nobody would know of it any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # it has ended before
        os._exit(1)


def main(path: Path) -> None:
    """Load the libraries and serve at a socket, whose earlier file is replaced."""
    os.chdir(path.parent)  # the path of a socket has at most 107 characters
    Path(path.name).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        before = os.umask(0o077)
        listener.bind(path.name)
        os.umask(before)
        listener.listen(64)
        preload([*_LIBRARIES, *_PROGRAMS])
        signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
        Server(listener).serve()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
