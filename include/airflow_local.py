"""A real Airflow on this machine for the demo, `ctr ui` and the tests: LocalExecutor, loopback only, a login of its own.

Three processes (api-server, scheduler, dag-processor) in one folder, `{home}/airflow`, with generated secrets that only the
owner can read. Whoever starts it stops it, by process group.
"""

import ctypes
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import httpx

from include.airflow_client import AirflowClient
from include.errors import CtrError
from include.settings import PROJECT, settings

# The scheduler's own server of logs would listen beyond loopback; the api-server reads them from the same folder.
_COMPONENTS = (("api-server",), ("scheduler", "--skip-serve-logs"), ("dag-processor",))
_START_SECONDS = 180
_PR_SET_PDEATHSIG = 1


def airflow_home() -> Path:
    """Airflow's folder: metadata database, logs, secrets."""
    return settings().home.resolve() / "airflow"


def password_file() -> Path:
    """Where the generated password of `admin` lies, readable by the owner only."""
    return airflow_home() / "passwords.json"


def environment(port: int) -> dict[str, str]:
    """Environment of every Airflow process: this checkout's DAGs and plugins, its database, a local executor."""
    home = airflow_home()
    url = f"http://127.0.0.1:{port}"
    conf = {
        "CORE__DAGS_FOLDER": PROJECT / "dags",
        "CORE__PLUGINS_FOLDER": PROJECT / "plugins",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": 4,
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": password_file(),
        "CORE__FERNET_KEY": _secret("fernet_key", fernet=True),
        "API__HOST": "127.0.0.1",
        "API__PORT": port,
        "API__BASE_URL": url,
        "API__WORKERS": 1,
        "API__SECRET_KEY": _secret("api_secret_key"),
        "API_AUTH__JWT_SECRET": _secret("jwt_secret"),
        "DATABASE__SQL_ALCHEMY_CONN": settings().airflow_database.get_secret_value() or f"sqlite:///{home}/airflow.db",
        "DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 600,  # a file that has changed is parsed at the next refresh
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 2,
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 30,  # takes up the tasks of a call that was killed
        "LOGGING__BASE_LOG_FOLDER": home / "logs",
    }
    spark = {"conn_type": "spark", "host": settings().spark_master, "extra": {"deploy-mode": "client"}}
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(PROJECT),
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(spark),
        "GX_ANALYTICS_ENABLED": "false",
        "NO_PROXY": "127.0.0.1,localhost",
        **{f"AIRFLOW__{name}": str(value) for name, value in conf.items()},
    }


def _secret(name: str, *, fernet: bool = False) -> str:
    """A generated secret, kept in a file that only the owner can read."""
    path = airflow_home() / "secrets" / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if fernet:
            from cryptography.fernet import Fernet

            value = Fernet.generate_key().decode()
        else:
            value = secrets.token_urlsafe(48)
        path.touch(mode=0o600)
        path.write_text(value)
    return path.read_text()


def password() -> str:
    """Password of `admin`, generated before Airflow starts."""
    path = password_file()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps({"admin": secrets.token_urlsafe(18)}))
    return str(json.loads(path.read_text())["admin"])


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def connect() -> AirflowClient | None:
    """Return a logged-in client of the Airflow in use: CTR_AIRFLOW_URL if set, else the embedded one; None where none runs."""
    if settings().airflow_url:
        client = AirflowClient(settings().airflow_url, settings().airflow_password.get_secret_value())
    else:
        return None
    client.login()
    return client


@contextmanager
def running(port: int | None = None) -> Iterator[AirflowClient]:
    """A running Airflow with the pools created and the DAG parsed; stopped, with all its children, at the end."""
    port = port or free_port()
    client = AirflowClient(f"http://127.0.0.1:{port}", password())
    env = environment(port)
    logs = airflow_home() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    started: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
    # Else a plain kill, or a terminal that is closed, would leave Airflow running.
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        _migrate(env, logs)
        for component, *options in _COMPONENTS:
            log = (logs / f"{component}.log").open("ab")
            command = [sys.executable, "-m", "airflow", component, *options]
            started.append((_start(command, env, log), log))
        _wait_until_up(client, started)
        client.create_pools()
        client.wait_for_dag()
        yield client
    finally:
        _stop(started)
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(command: list[str], env: dict[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process in a session of its own, which ends with this one even where that is killed outright (on Linux)."""
    return subprocess.Popen(
        command, env=env, cwd=PROJECT, stdout=log, stderr=log, start_new_session=True, preexec_fn=_end_with_parent
    )


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _migrate(env: dict[str, str], logs: Path) -> None:
    with (logs / "migrate.log").open("ab") as log:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"], env=env, cwd=PROJECT, stdout=log, stderr=log
        )
    if done.returncode:
        raise CtrError(f"Airflow's database could not be migrated: see {logs / 'migrate.log'}.")


def _wait_until_up(client: AirflowClient, started: list[tuple[subprocess.Popen[bytes], IO[bytes]]]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        for process, log in started:
            if process.poll() is not None:
                raise CtrError(f"Airflow ended while starting (status {process.returncode}): see {log.name}.")
        try:
            client.login()
            return
        except (httpx.TransportError, httpx.HTTPStatusError):
            time.sleep(0.5)
    raise CtrError(f"Airflow did not answer at {client.url} within {_START_SECONDS} s: see {airflow_home() / 'logs'}.")


def _stop(started: list[tuple[subprocess.Popen[bytes], IO[bytes]]]) -> None:
    """Asks each process group to end, then ends what is left."""
    for process, _ in started:
        _signal(process, signal.SIGTERM)
    for process, log in started:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        _signal(process, signal.SIGKILL)
        process.wait()
        log.close()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
