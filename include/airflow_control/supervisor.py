"""Supervision of Airflow's processes: one that ends by itself is started again."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import psutil

from include.errors import CtrError
from include.setting_groups import PROJECT

RESTARTS = 5
"""How often within `_WINDOW_SECONDS` a component is started again."""
_WINDOW_SECONDS = 600
_LONGEST_PAUSE_SECONDS = 16
_POLL_SECONDS = 0.5
_STOP_SECONDS = 15
_LOG_LINES = 20
_SAME_START_SECONDS = 30  # the clock may have been set since the process started


@dataclass(frozen=True)
class Component:
    """One program: its name for people, its command with `end_with_parent` before it, and the signal that asks it to end."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM

    def log_tail(self) -> str:
        """Return the last lines of the log, with its path."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if self.log.exists() else []
        return "\n".join([f"The end of {self.log}:", *lines])


@dataclass
class _Run:
    """A component, its process while it runs, when it ended of late and when it is due again (monotonic seconds)."""

    component: Component
    process: subprocess.Popen[bytes] | None = None
    ends: list[float] = field(default_factory=list)
    due: float = 0.0

    def start(self) -> None:
        self.component.log.parent.mkdir(parents=True, exist_ok=True)
        with self.component.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.component.command,
                env=self.component.environment,
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that all that it starts can be found and ended
            )


class Supervisor:
    """Starts components, restarts those that end, and stops all; the first that was started is stopped last.

    Args:
        record: file that names what runs, so that the next supervisor stops what this one had to leave behind.
        report: gets a line for each restart.
        failed: called, in the thread that watches, once a component has ended too often and all have been stopped.
    """

    def __init__(self, record: Path, report: Callable[[str], None], failed: Callable[[], None]) -> None:
        self.failure: CtrError | None = None
        self.stopping = Event()
        self._record = record
        self._report = report
        self._failed = failed
        self._runs: list[_Run] = []
        self._thread: Thread | None = None

    def start(self, component: Component) -> None:
        """Start a component; while `watch` has not been called, nothing restarts it."""
        run = _Run(component)
        self._runs.append(run)
        run.start()
        self._write_record()

    def check(self) -> None:
        """Raise `CtrError` with the end of its log where a component has ended."""
        for run in self._runs:
            if run.process is not None and (status := run.process.poll()) is not None:
                raise CtrError(
                    f"Airflow's {run.component.name} {_ended(status)} while it started. {run.component.log_tail()}"
                )

    def pids(self, name: str) -> list[int]:
        """Return the process ids of a component and of all that it has started."""
        return [
            pid
            for run in self._runs
            if run.component.name == name and run.process is not None
            for pid in _session(run.process.pid)
        ]

    def watch(self) -> None:
        """Start a thread that restarts components that end."""
        self._thread = Thread(target=self._watch, name="supervisor")
        self._thread.start()

    def stop(self) -> None:
        """Stop all components and all that they have started."""
        self.stopping.set()
        if self._thread:
            self._thread.join()
        self._stop_all()

    def _watch(self) -> None:
        # What this thread has started would get its signal at the thread's end: so it stops them itself, in their order.
        try:
            while not self.failure and not self.stopping.wait(_POLL_SECONDS):
                for run in self._runs:
                    self._tend(run)
        except OSError as error:
            self.failure = CtrError(f"Airflow's processes could not be watched any longer, and were stopped: {error}.")
        finally:
            self._stop_all()
        if self.failure and not self.stopping.is_set():
            self._failed()

    def _tend(self, run: _Run) -> None:
        now = time.monotonic()
        name = run.component.name
        if run.process is None:
            if now >= run.due:
                run.start()
                self._write_record()
            return
        status = run.process.poll()
        if status is None:
            return
        _end_session(run.process.pid)
        run.process = None
        run.ends = [*(end for end in run.ends if end > now - _WINDOW_SECONDS), now]
        if len(run.ends) > RESTARTS:
            self.failure = CtrError(
                f"Airflow's {name} {_ended(status)}, after {RESTARTS} restarts within {_WINDOW_SECONDS // 60} minutes: all of "
                f"Airflow was stopped. {run.component.log_tail()}\nNext: fix what the log reports, then repeat the command."
            )
            return
        pause = min(2 ** (len(run.ends) - 1), _LONGEST_PAUSE_SECONDS)
        run.due = now + pause
        self._report(
            f"Airflow's {name} {_ended(status)}: restart {len(run.ends)} of at most {RESTARTS} in {pause} s; "
            f"its log: {run.component.log}"
        )

    def _stop_all(self) -> None:
        last, rest = self._runs[:1], self._runs[1:]
        for runs in (rest, last):
            running = [(run, run.process) for run in runs if run.process is not None]
            for run, process in running:
                _signal_group(process.pid, run.component.stop_signal)
            for run, process in running:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_SECONDS)
                _end_session(process.pid)
                process.wait()
                run.process = None
        self._record.unlink(missing_ok=True)

    def _write_record(self) -> None:
        rows = []
        for run in self._runs:
            with suppress(psutil.NoSuchProcess):
                if run.process is not None:
                    started = psutil.Process(run.process.pid).create_time()
                    rows.append({"pid": run.process.pid, "started": started, "signal": int(run.component.stop_signal)})
        self._record.write_text(json.dumps(rows))

    def end_earlier(self) -> None:
        """Stop processes that an earlier supervisor, which was killed, has left behind."""
        with suppress(FileNotFoundError, ValueError):
            for row in reversed(json.loads(self._record.read_text())):
                with suppress(psutil.Error):
                    with suppress(psutil.NoSuchProcess):
                        process = psutil.Process(row["pid"])
                        if abs(process.create_time() - row["started"]) >= _SAME_START_SECONDS:
                            continue  # another process has its number now
                        process.send_signal(row["signal"])
                        psutil.wait_procs([process], _STOP_SECONDS)
                    _end_session(row["pid"])


def _ended(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _session(leader: int) -> list[int]:
    """Return the processes of a session, which tasks and what they start do not leave, unlike its process group."""
    pids = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == leader:
                pids.append(pid)
    return pids


def _signal_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, number)


def _end_session(leader: int) -> None:
    for pid in _session(leader):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
