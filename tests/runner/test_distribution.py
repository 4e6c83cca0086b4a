"""Tests that share something expensive run in one worker; the others are spread by file."""

import os

import psutil
import pytest
from distribution import group_of, worker_count


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/e2e/test_browser.py::test_a[x/y.py::z]", "tests/e2e"),
        ("tests/e2e/test_nightly.py::test_b", "tests/e2e"),
        ("tests/include/test_lake.py::test_a", "tests/include/test_lake.py"),
    ],
)
def test_the_group_of_a_test_is_its_shared_folder_or_its_file(nodeid, group):
    assert group_of(nodeid) == group


@pytest.mark.parametrize(
    ("cores", "gib", "arguments", "workers"),
    [
        (2, 24, ["tests"], 3),
        (8, 24, ["tests"], 4),
        (2, 4, ["tests/training", "tests/include"], 1),
        (8, 64, ["tests/include/test_lake.py"], 0),
        (8, 64, ["tests/include/test_lake.py::test_a", "tests/include/test_lake.py::test_b[x]"], 0),
        (8, 64, ["tests/include/test_lake.py", "tests/include/test_raw.py"], 9),
    ],
)
def test_workers_fit_cores_and_memory_and_one_file_needs_none(monkeypatch, cores, gib, arguments, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    memory = psutil.virtual_memory()._replace(total=gib << 30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert worker_count(arguments) == workers
