"""The local Airflow's folder, ports, secrets and settings; `airflow_local` starts and stops it."""

import json
import os
import secrets
import socket
import sys
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from include.airflow_control.postgres_local import Postgres
from include.setting_groups import PROJECT
from include.settings import get_settings


class Instance(BaseModel):
    """The Airflow of this home: the process that runs it, since when, and its ports."""

    pid: int
    command: str
    since: datetime
    port: int
    database_port: int
    ready: bool = False

    @property
    def url(self) -> str:
        """URL of its api-server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def holder(self) -> str:
        """The process that runs it, for messages."""
        return f"pid {self.pid}, `{self.command}`, since {self.since:%Y-%m-%d %H:%M} UTC"


def airflow_home() -> Path:
    """Return Airflow's folder: metadata database, logs, secrets."""
    return get_settings().home.resolve() / "airflow"


def password_file() -> Path:
    """Return the file with the generated password of `admin`, readable by the owner only."""
    return airflow_home() / "passwords.json"


def login() -> str:
    """Return the login, for messages."""
    return f"user admin, password in {password_file()}"


def environment(instance: Instance) -> dict[str, str]:
    """Return the environment of every Airflow process: this checkout's DAGs and plugins, its database, a local executor."""
    home = airflow_home()
    url = instance.url
    database = get_settings().airflow_database.get_secret_value() or postgres(instance).url
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
        "API__PORT": instance.port,
        "API__BASE_URL": url,
        "API__WORKERS": 1,
        "API__SECRET_KEY": _secret("api_secret_key"),
        "API_AUTH__JWT_SECRET": _secret("jwt_secret"),
        "DATABASE__SQL_ALCHEMY_CONN": database,
        "DAG_PROCESSOR__REFRESH_INTERVAL": 30,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 600,  # a file that has changed is parsed at the next refresh
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": 2,
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": 0.3,  # a night has some twenty tasks, most after the one before
        # A task waits for an api-server that is being started: each of its calls is tried for some three minutes.
        "WORKERS__EXECUTION_API_RETRIES": 40,
        "WORKERS__EXECUTION_API_RETRY_WAIT_MAX": 10,
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 30,  # takes up the tasks of a call that was killed
        "LOGGING__BASE_LOG_FOLDER": home / "logs",
    }
    spark = {"conn_type": "spark", "host": get_settings().spark_master, "extra": {"deploy-mode": "client"}}
    return {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(PROJECT),
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(spark),
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        **{f"AIRFLOW__{name}": str(value) for name, value in conf.items()},
    }


def postgres(instance: Instance) -> Postgres:
    """Return the PostgreSQL server of an instance, with its password generated."""
    _secret("postgres_password")
    home = airflow_home()
    return Postgres(
        home / "postgres", _secret_file("postgres_password"), instance.database_port, home / "logs/postgres.log"
    )


def _secret_file(name: str) -> Path:
    return airflow_home() / "secrets" / name


def _secret(name: str, *, fernet: bool = False) -> str:
    """Return a generated secret, stored in a file that only the owner can read."""
    path = _secret_file(name)
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
    """Return the password of `admin`, generated before Airflow starts."""
    path = password_file()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps({"admin": secrets.token_urlsafe(18)}))
    return str(json.loads(path.read_text())["admin"])


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
