"""Starts a program as a fork of a process that has its libraries loaded, where this home's local Airflow runs one.

    python -m include.orchestration.preloaded SOCKET COMMAND …

The command is `spark-submit … spark_jobs/JOB.py …` or `python -m training …`, as it would be started otherwise. This process
hands it to the server (`include/airflow_control/preloaded_jobs.py`), with its environment and its output, waits, and ends with
the command's exit status; when it ends, the command is ended. Without a server it becomes the command.
"""

import json
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn


def socket_file() -> Path:
    """Return the server's socket, in the folder of this home's local Airflow."""
    from include.settings import get_settings

    return get_settings().home.resolve() / "airflow/jobs.sock"


def preloaded(command: list[str]) -> list[str]:
    """Return the command that starts `command` through the server, where this home has one."""
    path = socket_file()
    return [sys.executable, "-m", __name__, str(path), *command] if path.exists() else command


def main(path: Path, command: list[str]) -> NoReturn:
    """Run the command on the server, or become it."""
    server = _connected(path)
    if server is None:
        os.execvp(command[0], command)  # noqa: S606
    with server:
        socket.send_fds(server, [b"\n"], [1, 2])
        request = {"command": command, "environment": dict(os.environ), "folder": str(Path.cwd())}
        server.sendall(json.dumps(request).encode() + b"\n")
        answer = server.makefile().readline()
    if not answer:
        log = path.parent / "logs/jobs.log"
        print(f"Error: Airflow's process 'jobs', which ran this program, has ended: see {log}.", file=sys.stderr)
        raise SystemExit(1)
    raise SystemExit(int(answer))


def _connected(path: Path) -> socket.socket | None:
    before = Path.cwd()
    server = socket.socket(socket.AF_UNIX)
    try:
        os.chdir(path.parent)  # the path of a socket has at most 107 characters
        server.connect(path.name)
    except OSError:
        server.close()
        return None
    finally:
        os.chdir(before)
    return server


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
