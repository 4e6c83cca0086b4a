"""Which tests run in one worker, in turn: those of a folder that share something expensive, else those of a file."""

import os
from collections.abc import MutableSequence
from pathlib import PurePosixPath

import psutil
import pytest
from xdist.scheduler import LoadScopeScheduling

_SHARING = ("tests/e2e", "tests/services", "tests/spark_jobs")
"""Folders whose tests share an Airflow, an HDFS, a Spark session."""
_LONGEST_FIRST = (*_SHARING, "tests/training", "tests/benchmarks")
_WORKER_BYTES = 6 << 30
"""Memory of a worker with all that it starts: a Spark driver, or an Airflow and the programs of a task."""


def group_of(nodeid: str) -> str:
    """The folder or file whose tests the test runs with."""
    path = nodeid.split("::", 1)[0]
    return next((folder for folder in _SHARING if path.startswith(f"{folder}/")), path)


def sort_longest_first(items: MutableSequence[pytest.Item]) -> None:
    """Puts groups that take long first, so that no worker begins one when the others are done.

    Keeps the order otherwise, but for files marked `file_order`.
    """

    def rank(item: pytest.Item) -> tuple[int, str, int]:
        place = next(
            (n for n, start in enumerate(_LONGEST_FIRST) if item.nodeid.startswith(start)), len(_LONGEST_FIRST)
        )
        ordered = item.get_closest_marker("file_order") is not None
        return place, str(item.path) if ordered else "", (item.reportinfo()[1] or 0) if ordered else 0

    items[:] = sorted(items, key=rank)


def worker_count(arguments: list[str]) -> int:
    """One worker more than cores, as tests wait for programs and sockets, if memory lets them; none for a single file."""
    files = {argument.split("::", 1)[0] for argument in arguments}
    if len(files) == 1 and PurePosixPath(next(iter(files))).suffix == ".py":
        return 0
    return max(1, min(len(os.sched_getaffinity(0)) + 1, psutil.virtual_memory().total // _WORKER_BYTES))


class GroupScheduling(LoadScopeScheduling):
    """Gives the groups to workers in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
