"""Starts a program as a fork of a process that has its libraries loaded, where this home's local Airflow runs one.

    python -m include.orchestration.preloaded SOCKET [--no-wait] COMMAND …

The command is `spark-submit … spark_jobs/JOB.py …` or `python -m training …`, as it would be started otherwise. This process
hands it to the server (`include/airflow_control/preloaded_jobs.py`), with its environment and its output, waits, and ends with
the command's exit status; when it ends, the command is ended. Without a server, or where that does not run it, it becomes the
command. With `--no-wait`, a Spark job neither waits for another nor lets one wait.
"""

import json
import os
import socket
import sys
from pathlib import Path
from typing import NoReturn

RUN_IT_YOURSELF = "run"
"""The answer to a client whose command the server does not run."""
_NO_WAIT = "--no-wait"


def socket_file() -> Path:
    """Return the server's socket, in the folder of this home's local Airflow."""
    from include.settings import get_settings

    return get_settings().home.resolve() / "airflow/jobs.sock"


def runs_in() -> list[str]:
    """Return the Python and the checkout by which a program is the same one in the server and in a client."""
    return [sys.executable, str(Path(__file__).resolve().parents[2])]


def preloaded(command: list[str], *, wait: bool = True) -> list[str]:
    """Return the command that starts `command` through the server, where this home has one.

    Spark jobs with `wait` take turns; one without it runs there only where no other does, and others do not wait for it.
    """
    path = socket_file()
    options = [] if wait else [_NO_WAIT]
    return [sys.executable, "-m", __name__, str(path), *options, *command] if path.exists() else command


def main(path: Path, command: list[str], *, waits: bool) -> NoReturn:
    """Run the command on the server, or become it."""
    server = _connected(path)
    answer = _answer(server, command, waits=waits) if server else RUN_IT_YOURSELF
    if answer == RUN_IT_YOURSELF:
        os.execvp(command[0], command)  # noqa: S606
    if not answer:
        log = path.parent / "logs/jobs.log"
        print(f"Error: Airflow's process 'jobs', which ran this program, has ended: see {log}.", file=sys.stderr)
        raise SystemExit(1)
    raise SystemExit(int(answer))


def _answer(server: socket.socket, command: list[str], *, waits: bool) -> str:
    """Return the server's answer; empty where it has ended before."""
    umask = os.umask(0)
    os.umask(umask)
    own = {"runs_in": runs_in(), "folder": str(Path.cwd()), "umask": umask}
    request = {"command": command, "environment": dict(os.environ), "waits": waits, **own}
    try:
        with server:
            socket.send_fds(server, [b"\n"], [1, 2])
            server.sendall(json.dumps(request).encode() + b"\n")
            return server.makefile().readline().strip()
    except OSError:
        return ""


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
    socket_path, *rest = sys.argv[1:]
    main(Path(socket_path), rest[1:] if rest[0] == _NO_WAIT else rest, waits=rest[0] != _NO_WAIT)
