"""PostgreSQL from the wheel: its data outlive kills, whatever the folder, and strangers are refused."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest

from include.airflow_control.airflow_environment import free_port
from include.airflow_control.postgres_local import Postgres
from include.airflow_control.supervisor import Supervisor

pytestmark = [pytest.mark.services, pytest.mark.long]


class Database:
    """A database in a folder whose path is longer than a Unix socket's may be, closed to all but its owner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ("long" * 30)
        self.folder.mkdir(mode=0o700)
        (self.folder / "password").write_text("secret")
        self._supervisors: list[Supervisor] = []

    def start(self) -> Postgres:
        """Starts it, without ending what an earlier start has left."""
        supervisor = Supervisor(self.folder / f"{len(self._supervisors)}.json", print, print)
        self._supervisors.append(supervisor)
        postgres = Postgres(self.folder / "postgres", self.folder / "password", free_port(), self.folder / "log")
        postgres.start(supervisor)
        return postgres

    def stop(self) -> None:
        for supervisor in self._supervisors:
            supervisor.stop()

    @property
    def pid_file(self) -> Path:
        return self.folder / "postgres/data/postmaster.pid"

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(int(self.pid_file.read_text().splitlines()[0]))


@pytest.fixture
def database(tmp_path) -> Iterator[Database]:
    database = Database(tmp_path)
    yield database
    database.stop()


def ask(postgres: Postgres, statement: str, password: str = "secret") -> list[tuple]:
    connection = psycopg2.connect(postgres.url.replace("+psycopg2", "").replace("secret", password))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def killed(database: Database) -> None:
    process = database.process
    process.kill()
    psutil.wait_procs([process])


def killed_while_its_processes_go_on(database: Database) -> None:
    children = database.process.children()
    for child in children:
        child.suspend()
    killed(database)
    threading.Timer(1, lambda: [child.resume() for child in children]).start()


def left_running(database: Database) -> None:
    """As by a call that was killed."""


def pid_of_another(database: Database) -> None:
    killed(database)
    lines = database.pid_file.read_text().splitlines()
    database.pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))


@pytest.mark.parametrize("end", [killed, killed_while_its_processes_go_on, left_running, pid_of_another])
def test_data_are_there_after_a_start_that_follows(database, end: Callable[[Database], None]):
    ask(database.start(), "CREATE TABLE kept AS SELECT 7 AS number")
    first = database.process
    end(database)
    again = database.start()
    assert ask(again, "SELECT number FROM kept") == [(7,)]
    assert database.process.pid != first.pid
    assert not first.is_running() or first.status() == psutil.STATUS_ZOMBIE


def test_it_is_closed_to_strangers(database):
    postgres = database.start()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        ask(postgres, "SELECT 1", password="guessed")
    port = urlsplit(postgres.url).port
    assert {connection.laddr.ip for connection in psutil.net_connections() if connection.laddr[1:] == (port,)} == {
        "127.0.0.1"
    }
    assert (database.folder / "postgres").stat().st_mode & 0o077 == 0


def test_a_half_made_database_is_made_anew(database):
    (database.folder / "postgres/data.new").mkdir(parents=True)
    assert ask(database.start(), "SHOW fsync") == [("on",)]


@pytest.mark.skipif(os.getuid() != 0, reason="who is not root runs it under his own account")
def test_root_leaves_it_one_capability(database):
    database.start()
    status = Path(f"/proc/{database.process.pid}/status").read_text()
    assert "CapEff:\t0000000000000002" in status, sys.version
    name = subprocess.run(["id", "-nu", str(database.process.uids().effective)], capture_output=True, text=True).stdout
    assert name.strip() == "nobody"
