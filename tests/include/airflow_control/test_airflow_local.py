"""Who runs Airflow on a home, and what is refused before anything is started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from include.airflow_control import airflow_environment, airflow_local
from include.airflow_control import supervisor as supervisor_module
from include.airflow_control.airflow_environment import Instance
from include.airflow_control.supervisor import Component
from include.cli.app import cli
from include.errors import CtrError, InvalidInputError
from include.setting_groups import PROJECT
from include.settings import get_settings

HOLD = """
from datetime import UTC, datetime
from include.airflow_control import airflow_local
from include.airflow_control.airflow_environment import Instance, airflow_home
own = Instance(pid=7, command="ctr demo", since=datetime(2026, 1, 2, 3, 4, tzinfo=UTC), port=8080, database_port=0)
airflow_home().mkdir()
with airflow_local._hold(own):
    print("held", flush=True)
    input()
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """`CTR_HOME`, without the registry that other tests need."""
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    return tmp_path


@pytest.fixture
def held(home):
    """Another process that holds the lock; it ends when its input does."""
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_home_on_which_nothing_runs_has_no_airflow(home):
    assert airflow_local.instance() is None
    assert airflow_local.connect() is None


def test_ui_on_a_home_in_use_says_who_has_it(held):
    done = CliRunner().invoke(cli, ["ui"])
    said = " ".join(done.output.split())
    assert done.exit_code == 0
    assert "is being started at http://127.0.0.1:8080 (pid 7, `ctr demo`, since 2026-01-02 03:04 UTC)" in said


def test_a_second_airflow_on_a_home_is_refused(held):
    with (
        pytest.raises(CtrError, match=r"runs already at http://127.0.0.1:8080 \(pid 7, `ctr demo`"),
        airflow_local.running(),
    ):
        pass


def test_a_killed_holder_frees_the_home(held):
    assert airflow_local.instance().pid == 7
    held.kill()
    held.wait()
    assert airflow_local.instance() is None


def test_a_port_in_use_is_told_before_anything_starts(home):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"Port {port} is in use.*--port"), airflow_local.running(port):
            pass
    assert not (home / "airflow/postgres").exists()


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_a_port_that_cannot_be_is_refused(home, port):
    assert CliRunner().invoke(cli, ["ui", "--port", port]).exit_code == 2


def test_a_database_of_ones_own_is_used(home, monkeypatch):
    monkeypatch.setenv("CTR_AIRFLOW_DATABASE", "postgresql+psycopg2://db.example/airflow")
    get_settings.cache_clear()
    own = Instance(pid=1, command="ctr ui", since=datetime.now(UTC), port=8080, database_port=0)
    url = airflow_environment.environment(own)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert url == "postgresql+psycopg2://db.example/airflow"
    assert not (home / "airflow/secrets/postgres_password").exists()


@pytest.fixture
def started(home, monkeypatch):
    """Lets `airflow_local.running` start a program in the place of Airflow; returns its process ids."""

    def start(script: str) -> Callable[[], list[int]]:
        kept = []

        def instead(_own, supervisor, _file):
            component = Component("scheduler", ["sh", "-c", script], os.environ, home / "scheduler.log")
            supervisor.start(component)
            supervisor.watch()
            kept.append(supervisor)

        monkeypatch.setattr(airflow_local, "_start", instead)
        return lambda: kept[0].pids("scheduler")

    monkeypatch.setattr(supervisor_module, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(supervisor_module, "_LONGEST_PAUSE_SECONDS", 0)
    return start


def test_a_process_that_keeps_exiting_ends_the_command(started):
    """The error shows the log of the process, and nothing is left running."""
    pids = started("echo why it ends; exit 3")
    ended = pytest.raises(CtrError, match=r"scheduler ended with status 3, after 5 restarts(.|\n)*why it ends\nNext: ")
    with ended, airflow_local.running():
        time.sleep(30)
    assert pids() == []
    assert airflow_local.instance() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_stops_airflow_first(started, number):
    pids, before = started("exec sleep 60"), signal.getsignal(number)
    ended = pytest.raises(SystemExit, match=str(128 + number))
    with ended, airflow_local.running():
        assert len(pids()) == 1
        os.kill(os.getpid(), number)
        time.sleep(30)
    assert pids() == []
    assert signal.getsignal(number) == before
