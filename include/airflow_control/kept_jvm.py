"""A JVM that is kept for one Spark job after another, so that Spark's code is loaded and compiled once."""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

_IDLE_SECONDS = 600
_JOBS = 30
_START_SECONDS = 60
_STOP_SECONDS = 10
_READ = ("CTR_", "HADOOP_", "JAVA_", "LANG", "LC_", "PYSPARK_", "PYTHON", "SPARK_", "TZ")
"""How the variables begin that a JVM, or a Python worker that it starts, reads."""
Start = tuple[list[str], dict[str, str], int]


def started_with(options: list[str], environment: Mapping[str, str], umask: int) -> Start:
    """Return what a JVM is started with, as far as a job can tell; the order of the options says nothing."""
    return sorted(options), {name: value for name, value in environment.items() if name.startswith(_READ)}, umask


class KeptJvm:
    """A JVM that is started as pyspark does, which would end it with the program, and waits for Python programs."""

    def __init__(self, options: list[str], environment: Mapping[str, str], umask: int) -> None:
        # No TemporaryDirectory: a fork that ends would remove it.
        self._info = Path(tempfile.mkdtemp(prefix="ctr-jvm-")) / "address"
        self._address: dict[str, str] | None = None
        self._start = started_with(options, environment, umask)
        self._jobs = 0
        self._used = time.monotonic()
        self._kill_at: float | None = None
        self._process = subprocess.Popen(
            [str(Path(sys.executable).parent / "spark-submit"), *options, "pyspark-shell"],
            env={**environment, "SPARK_CONNECT_MODE": "0", "_PYSPARK_DRIVER_CONN_INFO_PATH": str(self._info)},
            stdin=subprocess.PIPE,  # it ends where this is closed
            umask=umask,
        )

    def let_go(self) -> None:
        """Close the stream by which it knows that it is needed: in a fork, that one does not keep it; in its owner, it ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def serves(self, options: list[str], environment: Mapping[str, str], umask: int) -> bool:
        """Return whether a job with these options may run in it, once it has started."""
        alive = self._kill_at is None and (not self._jobs or self._process.poll() is None)
        return alive and self._jobs < _JOBS and self._start == started_with(options, environment, umask)

    def address(self) -> dict[str, str] | None:
        """Return the variables by which a program finds it; None while it starts.

        Raises `OSError` where it does not.
        """
        if self._address is None and self._info.exists():
            content = self._info.read_bytes()
            port, secret = int.from_bytes(content[:4], "big"), content[8:].decode()  # between them: the secret's length
            self._address = {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": secret}
            shutil.rmtree(self._info.parent)
        if self._address is not None:
            return self._address
        if self._process.poll() is not None:
            raise OSError(f"its JVM ended with status {self._process.returncode}")
        if time.monotonic() > self._used + _START_SECONDS:
            raise OSError(f"its JVM did not answer within {_START_SECONDS} s")
        return None

    def begin_job(self) -> None:
        """Count a job."""
        self._jobs += 1

    def end_job(self) -> None:
        """Note when the last job ended."""
        self._used = time.monotonic()

    @property
    def changing(self) -> bool:
        """Whether it starts or ends."""
        return self._kill_at is not None or self._address is None

    @property
    def idle(self) -> bool:
        """Whether no job has come for long."""
        return time.monotonic() > self._used + _IDLE_SECONDS

    def end(self) -> None:
        """Ask it to end, so that it removes its temporary files; `gone` tells when it has, and ends it after some seconds."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + _STOP_SECONDS
            self.let_go()

    def gone(self) -> bool:
        """Return whether it has ended since it was asked to."""
        if self._process.poll() is None:
            if self._kill_at is not None and time.monotonic() > self._kill_at:
                self._process.kill()
            return False
        shutil.rmtree(self._info.parent, ignore_errors=True)
        return self._kill_at is not None


def release_jvm() -> None:
    """Stop the Spark context of this process, and drop what it holds in the JVM, which would keep it for good."""
    from py4j.finalizer import ThreadSafeFinalizer
    from py4j.java_gateway import GatewayClient
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    if context is None:
        return
    gateway = context._gateway
    context.stop()
    assert gateway is not None
    client = gateway._gateway_client
    prefix = f"{client.address}{client.port}"
    for key in list(ThreadSafeFinalizer.finalizers):
        GatewayClient.garbage_collect_object(client, key.removeprefix(prefix))
