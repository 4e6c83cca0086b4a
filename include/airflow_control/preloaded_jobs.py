"""Runs the programs of the local Airflow's tasks as forks of one process, where the libraries that they import are loaded once.

    python -m include.airflow_control.preloaded_jobs SOCKET

Importing Great Expectations, torch and MLflow takes longer than the work of a small night, and so does the start of a JVM that
loads and compiles Spark. Each program is a process of its own, with fresh modules of this project, so that a change of code or
settings holds from the next one on. Spark jobs run one after another in a JVM that is kept, each with a Spark context of its
own. A JVM serves jobs that are started with the same options and settings, until one of them fails, `_JOBS_OF_A_JVM` have run
or none has come for `_IDLE_SECONDS`.

Clients (`include/orchestration/preloaded.py`) send a command, an environment and the files of their output, and get the exit
status; the socket is its owner's alone.
"""

import importlib
import json
import logging
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

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
_IDLE_SECONDS = 600
_JOBS_OF_A_JVM = 30
_JVM_START_SECONDS = 60
_STOP_SECONDS = 10
_POLL_SECONDS = 1.0
_OF_A_JVM = ("CTR_", "HADOOP_", "JAVA_", "LANG", "LC_", "PYSPARK_", "PYTHON", "SPARK_", "TZ")
"""How the variables begin that a JVM, or a Python worker that it starts, reads."""


def preload(modules: Iterable[str]) -> None:
    """Import modules with all that they import, and forget those that are the project's own."""
    for name in modules:
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]


@dataclass
class _Jvm:
    """A JVM that waits for Python programs: what it was started with, and how a program finds it."""

    process: "subprocess.Popen[bytes]"
    begun_with: tuple[list[str], Mapping[str, str]]
    address: Mapping[str, str]
    jobs: int = 0
    used: float = field(default_factory=time.monotonic)

    @classmethod
    def start(cls, options: list[str], environment: Mapping[str, str]) -> "_Jvm":
        """Start it as pyspark does, which would end it with the program."""
        with tempfile.TemporaryDirectory() as folder:
            info = Path(folder) / "address"
            process = subprocess.Popen(
                [str(Path(sys.executable).parent / "spark-submit"), *options, "pyspark-shell"],
                env={**environment, "SPARK_CONNECT_MODE": "0", "_PYSPARK_DRIVER_CONN_INFO_PATH": str(info)},
                stdin=subprocess.PIPE,  # it ends where this is closed
            )
            end = time.monotonic() + _JVM_START_SECONDS
            while not info.exists():
                if process.poll() is not None or time.monotonic() > end:
                    process.kill()
                    raise OSError(f"no JVM within {_JVM_START_SECONDS} s: its status is {process.wait()}")
                time.sleep(0.05)
            content = info.read_bytes()  # two numbers of 4 bytes, the port and the length of the secret, and the secret
        port = int.from_bytes(content[:4], "big")
        address = {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": content[8:].decode()}
        return cls(process, started_with(options, environment), address)

    def serves(self, options: list[str], environment: Mapping[str, str]) -> bool:
        """Return whether a job with these options may run in it."""
        same = self.begun_with == started_with(options, environment)
        return same and self.jobs < _JOBS_OF_A_JVM and self.process.poll() is None

    def end(self) -> None:
        """End it, and wait until it has ended."""
        assert self.process.stdin is not None
        self.process.stdin.close()  # so it removes its temporary files
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class _Job:
    """A client's program: what it asked for, and its process while it runs."""

    client: socket.socket
    output: list[int]
    command: list[str]
    environment: dict[str, str]
    folder: str
    process: BaseProcess | None = None
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

    def stop(self) -> None:
        """Ask the program to end, as its client has gone."""
        if self.process is not None and self.kill_at is None:
            self.process.terminate()
            self.kill_at = time.monotonic() + _STOP_SECONDS


class Server:
    """Takes commands from the listening socket until it is interrupted."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._jobs: list[_Job] = []
        self._jvm: _Jvm | None = None

    def serve(self) -> None:
        """Take commands, for ever."""
        while True:
            clients = {job.client: job for job in self._jobs if job.kill_at is None}
            running = {job.process.sentinel: job for job in self._jobs if job.process is not None}
            ready: list[Any] = wait([self._listener, *clients, *running], timeout=_POLL_SECONDS)
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
                    job.process.kill()
            self._start_spark()
            if self._jvm and not self._spark_runs() and time.monotonic() > self._jvm.used + _IDLE_SECONDS:
                self._end_jvm()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.settimeout(_STOP_SECONDS)
        output: list[int] = []
        try:
            _, output, _, _ = socket.recv_fds(client, 1, 2)
            request = json.loads(client.makefile().readline())
        except (OSError, ValueError):
            log.exception("A client's command could not be read")
            self._close(client, output)
            return
        client.settimeout(None)
        job = _Job(client, output, **request)
        self._jobs.append(job)
        if not job.is_spark:
            self._start(job, job.command, {})

    def _start_spark(self) -> None:
        """Start the first Spark job that waits, where none runs."""
        job = next((job for job in self._jobs if job.is_spark), None)
        if job is None or self._spark_runs():
            return
        options, program = job.split()
        if self._jvm is None or not self._jvm.serves(options, job.environment):
            self._end_jvm()
            try:
                self._jvm = _Jvm.start(options, job.environment)
            except OSError as error:
                os.write(job.output[1], f"Spark did not start: {error}\n".encode())
                self._answer(job, 1)
                return
        self._jvm.jobs += 1
        self._start(job, program, self._jvm.address)

    def _spark_runs(self) -> bool:
        return any(job.is_spark and job.process is not None for job in self._jobs)

    def _start(self, job: _Job, program: list[str], more: Mapping[str, str]) -> None:
        job.environment |= more
        context = multiprocessing.get_context("fork")
        job.process = context.Process(target=self._run, args=(job, program))
        job.process.start()

    def _run(self, job: _Job, program: list[str]) -> None:
        """Become the program, in the forked process."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._listener.close()
        for number, descriptor in zip((1, 2), job.output, strict=True):
            os.dup2(descriptor, number)
        for other in self._jobs:  # whoever reads the output of another program would wait for the end of this one
            self._close(other.client, other.output)
        if self._jvm:
            assert self._jvm.process.stdin is not None
            os.close(self._jvm.process.stdin.fileno())
        os.environ.clear()
        os.environ.update(job.environment)
        os.chdir(job.folder)
        if job.is_spark:
            sys.argv = program
            try:
                runpy.run_path(program[0], run_name="__main__")
            finally:
                _stop_spark()
        else:
            sys.argv = program[2:]  # python -m training …
            runpy.run_module(program[2], run_name="__main__", alter_sys=True)

    def _finish(self, job: _Job) -> None:
        assert job.process is not None
        job.process.join()
        status = job.process.exitcode or 0
        if job.is_spark and self._jvm:
            self._jvm.used = time.monotonic()
            if status:
                self._end_jvm()  # with all that the job may have left running there
        self._answer(job, 128 - status if status < 0 else status)

    def _answer(self, job: _Job, status: int) -> None:
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

    def _end_jvm(self) -> None:
        if self._jvm:
            self._jvm.end()
        self._jvm = None


def started_with(options: list[str], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the options, in whatever order they were given, and the environment by which a JVM is as another one."""
    read = {name: value for name, value in environment.items() if name.startswith(_OF_A_JVM)}
    return sorted(options), read


def _stop_spark() -> None:
    """Stop the Spark context of this process, so that the JVM is free for the next."""
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    if context is not None:
        context.stop()


def main(path: Path) -> None:
    """Load the libraries and serve at a socket, whose earlier file is replaced."""
    os.chdir(path.parent)  # the path of a socket has at most 107 characters
    Path(path.name).unlink(missing_ok=True)
    os.umask(0o077)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
        listener.listen(64)
        preload([*_LIBRARIES, *_PROGRAMS])
        Server(listener).serve()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
