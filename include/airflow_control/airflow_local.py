"""A real Airflow on this machine for the demo, `ctr ui` and the tests: LocalExecutor, loopback only, a login of its own.

PostgreSQL and three processes (api-server, scheduler, dag-processor) in one folder, `{home}/airflow`, with generated secrets that
only the owner can read. The process that starts it holds a lock on that folder, restarts what ends, and stops all; other
processes use it through `connect` or `connected`.
"""

import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import httpx
import psutil
from pydantic import ValidationError

from include.airflow_control.airflow_client import AirflowClient
from include.airflow_control.airflow_environment import (
    Instance,
    airflow_home,
    environment,
    free_port,
    login,
    password,
    postgres,
)
from include.airflow_control.postgres_local import Postgres
from include.airflow_control.supervisor import Component, Supervisor
from include.errors import CtrError, InvalidInputError
from include.orchestration.child_process import end_with_parent
from include.orchestration.preloaded import socket_file
from include.setting_groups import PROJECT
from include.settings import get_settings

log = logging.getLogger(__name__)

# The scheduler's own server of logs would listen beyond loopback; the api-server reads them from the same folder.
_COMPONENTS = (("api-server",), ("scheduler", "--skip-serve-logs"), ("dag-processor",))
_FORKING = ("scheduler", "dag-processor")
_START_SECONDS = 180
_LOCK_SECONDS = 1.0  # longer than another process holds the lock to look at it


def instance() -> Instance | None:
    """Return the Airflow that runs on this home or is being started, by any process; None where there is none."""
    deadline = time.monotonic() + _LOCK_SECONDS
    with suppress(FileNotFoundError), _lock_file().open() as file:
        while not _try_lock(file, fcntl.LOCK_SH):
            file.seek(0)
            with suppress(ValidationError):  # its holder is about to write it
                return Instance.model_validate_json(file.read())
            if time.monotonic() > deadline:
                raise CtrError(f"{_lock_file()} is locked and does not name the holder. Next: repeat the command.")
            time.sleep(0.05)
    return None


def connect() -> AirflowClient | None:
    """Return a logged-in client of the Airflow in use: CTR_AIRFLOW_URL if set, else the embedded one that runs on this home.

    Returns:
        The client, once an Airflow that is being started is ready; None where none runs.

    Raises:
        CtrError: the Airflow of CTR_AIRFLOW_URL refuses the login, or the embedded one does not answer.
    """
    if get_settings().airflow_url:
        return _connect_elsewhere()
    deadline = time.monotonic() + _START_SECONDS
    announced = False
    while embedded := instance():
        if embedded.ready:
            client = AirflowClient(embedded.url, password())
            with suppress(httpx.TransportError):  # its api-server is being restarted, or it ends
                client.login()
                return client
        elif not announced:
            announced = True
            log.info(f"Waiting for Airflow at {embedded.url}, which is being started ({embedded.holder})")
        if time.monotonic() > deadline:
            raise CtrError(
                f"Airflow at {embedded.url} ({embedded.holder}) did not answer within {_START_SECONDS} s. "
                f"Next: look at its logs in {airflow_home() / 'logs'}, or stop that process and repeat the command."
            )
        time.sleep(0.5)
    return None


@contextmanager
def connected() -> Iterator[AirflowClient]:
    """Give a client of the Airflow of `connect`, or of one that is started for as long as it is needed."""
    client = connect()
    if client is None:
        with running() as client:
            yield client
        return
    embedded = None if get_settings().airflow_url else instance()
    if embedded and embedded.pid != os.getpid():
        log.info(f"Using the Airflow that runs at {embedded.url} ({embedded.holder})")
    try:
        yield client
    except CtrError as error:
        if embedded and instance() is None:
            raise CtrError(
                f"Airflow at {embedded.url} has ended with the process that ran it ({embedded.holder}). "
                "Next: repeat the command: it starts an Airflow of its own and resumes."
            ) from error
        raise


def _connect_elsewhere() -> AirflowClient:
    password = get_settings().airflow_password.get_secret_value()
    if not password:
        raise CtrError(
            f"CTR_AIRFLOW_PASSWORD is not set, so there is no login to Airflow at {get_settings().airflow_url} "
            "(CTR_AIRFLOW_URL). Next: set it to the password of `admin`."
        )
    client = AirflowClient(get_settings().airflow_url, password)
    try:
        client.login()
    except httpx.HTTPError as error:
        raise CtrError(
            f"Airflow at {client.url} (CTR_AIRFLOW_URL) refused the login of `admin`: {error}. Next: check that it is up "
            "(`docker compose ps`) and that CTR_AIRFLOW_PASSWORD is the password, then repeat the command, which resumes."
        ) from error
    client.wait_for_dag()
    return client


@contextmanager
def running(port: int | None = None) -> Iterator[AirflowClient]:
    """Run an Airflow with the pools created and the DAG parsed, and give a client of it; processes that end are restarted.

    It is stopped, with all its children, at the end. Raises `CtrError`, inside the `with` block too, where a process ends again
    and again.
    """
    own = Instance(
        pid=os.getpid(),
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        since=datetime.now(UTC),
        port=port or free_port(),
        database_port=free_port(),
    )
    (airflow_home() / "logs").mkdir(parents=True, exist_ok=True)
    with _hold(own) as file:
        _refuse_port_in_use(own.port)
        main = threading.main_thread()
        supervisor = Supervisor(
            airflow_home() / "processes.json", log.info, lambda: signal.pthread_kill(main.ident or 0, signal.SIGTERM)
        )

        def end(number: int, _frame: object) -> None:
            if not supervisor.stopping.is_set():
                raise supervisor.failure or SystemExit(128 + number)

        # Otherwise a plain kill, or a closed terminal, would leave Airflow running.
        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
        try:
            yield _start(own, supervisor, file)
        finally:
            supervisor.stop()
            for number, handler in before.items():
                signal.signal(number, handler)


def _start(own: Instance, supervisor: Supervisor, file: IO[str]) -> AirflowClient:
    began = time.monotonic()
    client = AirflowClient(own.url, password())
    log.info(f"Starting Airflow at {own.url}, {login()}")
    log.info("Database, api-server, scheduler and dag-processor take about half a minute …")
    supervisor.end_earlier()
    if not get_settings().airflow_database.get_secret_value():
        _start_postgres(postgres(own), supervisor)
    env = environment(own)
    logs = airflow_home() / "logs"
    serve = [sys.executable, "-m", "include.airflow_control.preloaded_jobs", str(socket_file())]
    supervisor.start(Component("jobs", [*end_with_parent(), *serve], env, logs / "jobs.log"))
    _migrate(env, logs)
    for name, *options in _COMPONENTS:
        module = "include.airflow_control.preloaded_airflow" if name in _FORKING else "airflow"
        command = [*end_with_parent(signal.SIGTERM), sys.executable, "-m", module, name, *options]
        supervisor.start(Component(name, command, env, logs / f"{name}.log"))
    _wait_until_up(client, own, supervisor)
    supervisor.watch()
    client.create_pools()
    client.wait_for_dag()
    _write(file, own.model_copy(update={"ready": True}))
    log.info(f"Airflow is ready after {time.monotonic() - began:.0f} s")
    return client


def _start_postgres(database: Postgres, supervisor: Supervisor) -> None:
    earlier = airflow_home() / "airflow.db"
    if earlier.exists() and not database.exists:
        log.info(f"Airflow's database is PostgreSQL now; the history of its earlier runs stays in {earlier} (SQLite)")
    database.start(supervisor)


def _lock_file() -> Path:
    return airflow_home() / "running.json"


@contextmanager
def _hold(own: Instance) -> Iterator[IO[str]]:
    """Hold the lock on this home, whose file names the holder; raises `CtrError` where another process holds it."""
    with _lock_file().open("a+") as file:
        _lock_file().chmod(0o600)
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _try_lock(file, fcntl.LOCK_EX):
            if time.monotonic() > deadline and (other := instance()):
                raise CtrError(
                    f"Airflow runs already at {other.url} ({other.holder}). Next: use that one, or stop it first."
                )
            time.sleep(0.05)
        _write(file, own)
        yield file


def _try_lock(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(file: IO[str], own: Instance) -> None:
    file.truncate(0)
    file.write(own.model_dump_json())
    file.flush()


def _refuse_port_in_use(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the api-server: connections that have ended do not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InvalidInputError(f"Port {port} is in use ({error.strerror}); choose another with --port.") from None


def _migrate(env: dict[str, str], logs: Path) -> None:
    with (logs / "migrate.log").open("ab") as log:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"], env=env, cwd=PROJECT, stdout=log, stderr=log
        )
    if done.returncode:
        raise CtrError(f"Airflow's database could not be migrated: see {logs / 'migrate.log'}.")


def _wait_until_up(client: AirflowClient, own: Instance, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        supervisor.check()
        # The password is for our own api-server, not for another program that came first to the port.
        if _listens(supervisor.pids("api-server"), own.port):
            with suppress(httpx.TransportError, httpx.HTTPStatusError):
                client.login()
                return
        time.sleep(0.5)
    raise CtrError(f"Airflow did not answer at {client.url} within {_START_SECONDS} s: see {airflow_home() / 'logs'}.")


def _listens(pids: list[int], port: int) -> bool:
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            for connection in psutil.Process(pid).net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False
