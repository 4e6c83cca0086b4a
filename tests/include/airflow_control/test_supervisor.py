"""Real processes under the supervisor: restarted, given up, stopped in order, and found again after a kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import psutil
import pytest

from include.airflow_control import supervisor as supervisor_module
from include.airflow_control.supervisor import RESTARTS, Component, Supervisor
from include.errors import CtrError
from include.orchestration.child_process import end_with_parent
from include.setting_groups import PROJECT

SLEEP = "exec sleep 60"


def eventually(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


class Watched:
    """A supervisor, what it told, and whether it has given up."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lines, self.failed = folder, [], Event()
        self.supervisor = Supervisor(folder / "processes.json", self.lines.append, self.failed.set)

    def component(self, name: str, script: str) -> Component:
        command = [*end_with_parent(signal.SIGTERM), "sh", "-c", script]
        return Component(name, command, os.environ, self.folder / f"{name}.log")

    def start(self, name: str, script: str) -> None:
        self.supervisor.start(self.component(name, script))

    def pid(self, name: str) -> int:
        (pid,) = self.supervisor.pids(name)
        return pid


@pytest.fixture
def watched(tmp_path, monkeypatch) -> Iterator[Watched]:
    monkeypatch.setattr(supervisor_module, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(supervisor_module, "_LONGEST_PAUSE_SECONDS", 0)
    one = Watched(tmp_path)
    yield one
    one.supervisor.stop()


def test_a_killed_component_is_replaced_and_told(watched):
    watched.start("scheduler", SLEEP)
    watched.supervisor.watch()
    before = watched.pid("scheduler")
    os.kill(before, signal.SIGKILL)
    eventually(lambda: watched.lines and watched.supervisor.pids("scheduler") not in ([], [before]))
    assert not psutil.pid_exists(before)
    (line,) = watched.lines
    assert "scheduler was ended by SIGKILL" in line
    assert str(watched.folder / "scheduler.log") in line


def test_what_a_dead_component_started_ends_before_its_restart(watched):
    watched.start("scheduler", f"set -m; sleep 60 & {SLEEP}")
    watched.supervisor.watch()
    eventually(lambda: len(watched.supervisor.pids("scheduler")) == 2)
    leader, child = sorted(watched.supervisor.pids("scheduler"))
    os.kill(leader, signal.SIGKILL)
    eventually(
        lambda: len(watched.supervisor.pids("scheduler")) == 2 and leader not in watched.supervisor.pids("scheduler")
    )
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_component_that_keeps_ending_stops_all_with_its_log(watched):
    watched.start("database", SLEEP)
    watched.start("scheduler", "echo why it ends; exit 3")
    watched.supervisor.watch()
    assert watched.failed.wait(10)
    assert len(watched.lines) == RESTARTS
    assert "scheduler ended with status 3, after 5 restarts" in str(watched.supervisor.failure)
    assert "why it ends" in str(watched.supervisor.failure)
    assert watched.supervisor.pids("database") == []


def test_a_component_that_ends_while_starting_is_told(watched):
    watched.start("api-server", "echo no such plugin; exit 1")
    with pytest.raises(CtrError, match=r"api-server ended with status 1 while it started(.|\n)*no such plugin"):
        eventually(lambda: bool(watched.supervisor.check()))


def test_the_first_component_is_stopped_last(watched):
    order = watched.folder / "order"
    for name in ("database", "scheduler"):
        watched.start(
            name,
            f"trap 'echo {name} >> {order}; exit 0' TERM; touch {watched.folder}/{name}.up; while :; do sleep 0.05; done",
        )
    eventually(lambda: len(list(watched.folder.glob("*.up"))) == 2)
    watched.supervisor.stop()
    assert order.read_text().split() == ["scheduler", "database"]
    assert not (watched.folder / "processes.json").exists()


@pytest.mark.parametrize("leader_gone", [False, True])
def test_the_next_supervisor_ends_what_a_killed_one_left(watched, leader_gone):
    script = (
        "import os, sys, time; from pathlib import Path; from include.airflow_control.supervisor import Component, Supervisor\n"
        "one = Supervisor(Path(sys.argv[1]) / 'processes.json', print, print)\n"
        "one.start(Component('scheduler', ['sh', '-c', 'sleep 60 & wait'], os.environ, Path(sys.argv[1]) / 'log'))\n"
        "while len(one.pids('scheduler')) < 2: time.sleep(0.02)\n"
        "print(*sorted(one.pids('scheduler')), flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(watched.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as killed:
        leader, child = (psutil.Process(int(pid)) for pid in killed.stdout.readline().split())
        killed.kill()
    if leader_gone:
        leader.kill()
        eventually(lambda: not is_alive(leader))
    assert is_alive(child)
    watched.supervisor.end_earlier()
    eventually(lambda: not is_alive(leader) and not is_alive(child))
