"""Describes the machine of a measurement, and measures seconds, processor time and peak memory of commands."""

import os
import platform
import resource
import subprocess
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from include.setting_groups import PROJECT
from include.settings import get_settings
from include.version import code_version

_EVERY_SECONDS = 0.25


def machine() -> dict[str, Any]:
    """Return cores, memory, versions, settings, date and code of a measurement."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": code_version(),
        "cores": os.cpu_count(),
        "memory_gib": round(_kib(Path("/proc/meminfo"), "MemTotal") / 2**20, 1),
        "cpu": _cpu(),
        "system": platform.platform(),
        "java": _java(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("pyspark", "duckdb", "great-expectations")},
        "settings": get_settings().model_dump(
            mode="json", exclude={"home", "lake", "raw", "mlflow_uri", "mlflow_artifacts"}
        ),
    }


def console(width: int = 130, *, highlight: bool = False) -> Console:
    """Return the console that a benchmark prints to: the terminal, or lines of a fixed width where there is none."""
    out = Console(highlight=highlight)
    if not out.is_terminal:
        out.width = width
    return out


def result_file(benchmark: str, path: Path | None) -> Path:
    """Return the path of a benchmark's JSON, `path` or a new file, and create its folder."""
    out = path or PROJECT / ".ctr/bench" / f"{benchmark}-{datetime.now(UTC):%Y%m%dT%H%M%S}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    return out


class Watch:
    """Measures the cost of the commands started inside its `with` block; `taken` holds the result afterwards.

    Memory is the largest sum at one moment of what the processes hold, JVM and Python apart, without pages of files, which the
    system drops where it needs room; pages that forked processes share count for each of them. `load` is the load average
    before: on a busy machine compare `cpu_seconds` rather than `wall_seconds`.
    """

    def __enter__(self) -> "Watch":
        self._java = self._other = 0
        self._done = threading.Event()
        self._load = os.getloadavg()[0]
        self._cpu = _cpu_of_children()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        wall = time.monotonic() - self._started
        self._done.set()
        self._thread.join()
        self.taken: dict[str, Any] = {
            "wall_seconds": round(wall, 2),
            "cpu_seconds": round(_cpu_of_children() - self._cpu, 2),
            "jvm_peak_mib": self._java // 1024,
            "python_peak_mib": self._other // 1024,
            "load": round(self._load, 1),
        }

    def _poll(self) -> None:
        while not self._done.wait(_EVERY_SECONDS):
            java = other = 0
            for pid, name in _descendants(os.getpid()):
                with suppress(OSError):
                    held = _kib(Path(f"/proc/{pid}/status"), "RssAnon", "RssShmem")
                    java, other = (java + held, other) if name == "java" else (java, other + held)
            self._java, self._other = max(self._java, java), max(self._other, other)


def _descendants(root: int) -> list[tuple[int, str]]:
    """Return id and name of every process below `root`."""
    children: dict[int, list[tuple[int, str]]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                head, tail = (folder / "stat").read_text().rsplit(")", 1)
                children.setdefault(int(tail.split()[1]), []).append((int(folder.name), head.split("(", 1)[1]))
    descendants = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        descendants += below
        waiting += [pid for pid, _ in below]
    return descendants


def _kib(path: Path, *names: str) -> int:
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return sum(int(value.split()[0]) for name, _, value in lines if name in names)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _java() -> str:
    output = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    return output.splitlines()[0] if output else "unknown"
