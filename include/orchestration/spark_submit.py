"""Submission of the project's Spark jobs from this machine (Airflow uses its own operator)."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import IO, Any

from include import errors
from include.calendar import days_between
from include.errors import CtrError
from include.orchestration.child_process import end_with_parent
from include.orchestration.preloaded import preloaded
from include.raw.deliveries import Raw
from include.setting_groups import PROJECT
from include.settings import get_settings, python_path

SMALL_DAY_BYTES = 200 << 20
DRIVER_JAVA = "spark.driver.extraJavaOptions"
PUBLISH = ("--publish",)
"""Options of a job that publishes each day as soon as it is staged and checked."""
_QUICK_BELOW = {
    "score_list": 200 << 20,
    "ingest": 200 << 20,
    "history": 200 << 20,
    "features": 1 << 30,
    "training_table": 1 << 30,
}
"""Raw bytes below which a job ends sooner with the simpler compiler (measured on 2 cores): per row, ingest computes most."""
_ROOM_FOR_CODE = "-XX:ReservedCodeCacheSize=512m"
"""Spark generates thousands of classes; where their code is more than fits (48 MiB by default with the simpler compiler), the JVM
throws it away and compiles it again and again."""
_WIDE_ROWS_JAVA = "-XX:-DontCompileHugeMethods"
_QUICK_JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xms1g -Xmn600m -XX:MetaspaceSize=300m"


def raw_bytes(day: date) -> int:
    """Return the size in bytes of a day's raw files as stored; 0 where there are none."""
    raw = Raw()
    return sum(int(raw.fs.size(raw.full(path)) or 0) for path in raw.day_files(day))


def driver_java_options(job: str, raw: int, master: str) -> str:
    """Return the options of the driver's JVM for a job over `raw` bytes of logs, all its days together.

    Where they are few and the driver computes (a local master), most of the time is the JVM's warm-up, which a simpler compiler
    halves. Where they are many, the code that Spark generates for wide rows is longer than what the JVM compiles by default.
    """
    small = raw < _QUICK_BELOW[job] and master.startswith("local")
    return f"-Duser.timezone=UTC {_ROOM_FOR_CODE} {_QUICK_JAVA if small else _WIDE_ROWS_JAVA}"


def driver_options(master: str) -> dict[str, str]:
    """Return the options of a driver in client mode; no other machine has to reach one with a local master, so that it listens on
    loopback only."""
    addresses = ("spark.driver.bindAddress", "spark.driver.host") if master.startswith("local") else ()
    return {"spark.log.level": "ERROR", **dict.fromkeys(addresses, "127.0.0.1")}


def driver_environment() -> dict[str, str]:
    """Return what a driver in client mode, and its Python workers, need in their environment: this home, code and Python."""
    return {
        "CTR_HOME": str(get_settings().home.resolve()),
        "PYTHONPATH": python_path(),
        "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable),
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }


def submit(job: str, first: date, last: date, *, options: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Run `spark_jobs/{job}.py --from first --to last` with more options and yield the events that it prints.

    Raises `CtrError` with the job's own message, or the end of its log, when it fails.
    """
    raw = sum(raw_bytes(day) for day in days_between(first, last))
    master = get_settings().spark_master
    conf = {**driver_options(master), DRIVER_JAVA: driver_java_options(job, raw, master)}
    command = [
        str(Path(sys.executable).parent / "spark-submit"),
        *("--master", master, "--deploy-mode", "client"),
        *("--driver-memory", get_settings().spark_driver_memory),
        *(part for name, value in conf.items() for part in ("--conf", f"{name}={value}")),
        str(PROJECT / "spark_jobs" / f"{job}.py"),
        *("--from", str(first), "--to", str(last)),
        *options,
    ]
    command = [*end_with_parent(), *(preloaded(command, wait=False) if master.startswith("local") else command)]
    environment = {**os.environ, **driver_environment()}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield from _events(process, log)
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait()
        if process.returncode:
            log.seek(0)
            tail = "\n".join(log.read().splitlines()[-40:])
            raise CtrError(f"The Spark job '{job}' of {first}..{last} ended with status {process.returncode}:\n{tail}")


def _events(process: "subprocess.Popen[str]", log: IO[str]) -> Iterator[dict[str, Any]]:
    """Yield the job's events; other lines go to the log, also Python's errors, which spark-submit prints on standard output."""
    assert process.stdout is not None
    for line in process.stdout:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or "event" not in event:  # Spark writes some of its errors as JSON, too
            log.write(line)
            log.flush()
            continue
        if event["event"] == "error":
            process.wait()
            raise getattr(errors, event["kind"], CtrError)(event["message"])
        yield event
    process.wait()
