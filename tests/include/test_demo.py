"""How the demo goes on with nightly runs that an earlier call has left, against a server that answers as Airflow does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from include import airflow_local, demo
from include.airflow_client import AirflowClient
from include.errors import CtrError

DAYS = [date(2023, 7, 17) + timedelta(days=n) for n in range(3)]
UNFINISHED = ("queued", "running")


class Airflow:
    """One DAG with its runs and backfills; each look at the runs lets the first unfinished one go a step further."""

    def __init__(self) -> None:
        self.paused, self.moves, self.backfills, self.calls = True, True, [], []
        self.runs: list[dict[str, Any]] = []
        self.cancelled: set[str] = set()

    def add(self, day: date, state: str = "queued", run_type: str = "backfill") -> None:
        run = {"dag_run_id": f"{run_type}__{day}", "run_type": run_type, "state": state, "duration": 1.0}
        started = None if state == "queued" else f"{len(self.calls)}"
        times = {"queued_at": f"{len(self.calls)}", "start_date": started}
        self.runs.append({**run, "data_interval_start": f"{day}T00:00:00Z", **times})

    def leave(self, *states: str) -> None:
        """Runs of the first days as a killed call has left them."""
        for day, state in zip(DAYS, states, strict=False):
            self.add(day, state)
        self.backfills.append({"id": 1, "is_paused": True, "completed_at": None})

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        url = urlsplit(path.removeprefix("/api/v2"))
        self.calls.append((method, url.path))
        if url.path == "/ctr/api/runs":
            return 200, {str(day): self._run(run) for run in self.runs for day in DAYS if str(day) in run["dag_run_id"]}
        if "/taskInstances/" in url.path:
            return 200, {}
        if method == "PATCH" and "/dagRuns/" in url.path:
            run = next(run for run in self.runs if url.path.endswith(run["dag_run_id"]))
            run["state"] = body["state"]
            return 200, {}
        if url.path.endswith("/taskInstances"):
            return 200, {"task_instances": []}
        if url.path.endswith("/dagRuns"):
            return 200, {"dag_runs": self._look(parse_qs(url.query).get("state"))}
        if method == "PATCH":
            self.paused = body["is_paused"]
        if method == "PUT":
            self.backfills[-1]["is_paused"] = False
        if method == "POST":
            return self._backfill(body)
        return 200, {"backfills": self.backfills}

    def cancel(self, *states: str) -> None:
        """As *Cancel backfill*: runs that have not begun are failed without a start, and never start when cleared."""
        self.backfills[-1] |= {"is_paused": True, "completed_at": "now"}
        for run, state in zip(self.runs, states, strict=True):
            run["state"] = state
        self.cancelled = {run["dag_run_id"] for run in self.runs}

    def _run(self, run: dict[str, Any]) -> dict[str, Any]:
        """As the project's pages tell it."""
        stuck = run["state"] == "queued" and run["dag_run_id"] in self.cancelled
        times = dict.fromkeys(("logical_date", "queued", "start", "end"))
        same = {"run_type": run["run_type"], "state": run["state"], "page": "", "tasks": []}
        return {"run_id": run["dag_run_id"], "hindrance": "cancelled backfill" if stuck else None, **same, **times}

    def _look(self, states: list[str] | None) -> list[dict[str, Any]]:
        unfinished = [run for run in self.runs if run["state"] in UNFINISHED]
        waiting = [run for run in unfinished if run["state"] == "running" or run["dag_run_id"] not in self.cancelled]
        if waiting and self.moves and (waiting[0]["dag_run_id"] in self.cancelled or not self._paused()):
            run = waiting[0]
            run["state"] = "running" if run["state"] == "queued" else "success"
            run["start_date"] = run["start_date"] or f"{len(self.calls)}"
        return [run for run in reversed(self.runs) if not states or run["state"] in states]

    def _paused(self) -> bool:
        return self.paused or bool(self.backfills[-1]["is_paused"])

    def _backfill(self, body: dict[str, Any]) -> tuple[int, Any]:
        if any(not backfill["completed_at"] for backfill in self.backfills):
            if not any(run["state"] in UNFINISHED for run in self.runs):
                self.backfills[-1]["completed_at"] = "now"  # as the scheduler does a little later
            return 409, {"detail": "There is already a running backfill for dag ctr_daily"}
        first, last = (date.fromisoformat(body[name][:10]) for name in ("from_date", "to_date"))
        for day in DAYS:
            queued = any(run["state"] == "queued" and str(day) in run["dag_run_id"] for run in self.runs)
            if first <= day <= last and not queued:  # else Airflow leaves it out
                self.cancelled.discard(f"backfill__{day}")
                self.runs = [run for run in self.runs if not run["data_interval_start"].startswith(str(day))]
                self.add(day)
        self.backfills.append({"id": 2, "is_paused": False, "completed_at": None})
        return 200, self.backfills[-1]


@pytest.fixture
def airflow(monkeypatch) -> Iterator[Airflow]:
    """A server on loopback that `demo.nightly` takes for the Airflow in use."""
    found = Airflow()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, told = found.answer(self.command, self.path, json.loads(body or b"{}"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        do_GET = do_POST = do_PATCH = do_PUT = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()

    @contextmanager
    def connected() -> Iterator[AirflowClient]:
        yield AirflowClient(f"http://127.0.0.1:{server.server_address[1]}", "")

    monkeypatch.setattr(airflow_local, "connected", connected)
    monkeypatch.setattr("time.sleep", lambda _: None)
    yield found
    server.shutdown()
    server.server_close()


def states(outcomes: dict[date, demo.Outcome]) -> dict[date, str]:
    return {day: outcome.state for day, outcome in outcomes.items()}


def posts(airflow: Airflow) -> int:
    return airflow.calls.count(("POST", "/backfills"))


def test_a_first_call_runs_all_days_as_one_backfill(airflow):
    assert states(demo.nightly(DAYS)) == dict.fromkeys(DAYS, "success")
    assert posts(airflow) == 1


@pytest.mark.parametrize("left", [("queued",) * 3, ("running", "queued", "queued"), ("success", "running", "queued")])
def test_runs_that_a_killed_call_left_go_on_and_are_not_begun_anew(airflow, left):
    airflow.leave(*left)
    open_days = DAYS[left.count("success") :]
    assert states(demo.nightly(open_days)) == dict.fromkeys(open_days, "success")
    assert posts(airflow) == 0


def test_days_that_were_not_among_the_runs_left_are_run_after_them(airflow):
    airflow.leave("running")
    assert states(demo.nightly(DAYS[1:])) == dict.fromkeys(DAYS[1:], "success")
    assert airflow.runs[0]["state"] == "success"
    assert posts(airflow) == 2  # the first comes before the scheduler has closed the earlier backfill


def test_a_backfill_that_the_scheduler_has_yet_to_close_is_waited_for(airflow):
    airflow.leave("success", "failed")
    assert states(demo.nightly(DAYS[1:])) == dict.fromkeys(DAYS[1:], "success")
    assert posts(airflow) == 2


@pytest.mark.parametrize("left", [(), ("running", "queued")])
def test_runs_that_never_move_end_with_what_was_found_and_what_to_do(airflow, monkeypatch, left):
    airflow.moves = False
    if left:
        airflow.leave(*left)
    monkeypatch.setattr(demo, "_IDLE_SECONDS", 0)
    with pytest.raises(CtrError, match=r"No task of ctr_daily has moved.*2023-07-17 .*ctr ui.*repeat the command"):
        demo.nightly(DAYS)


def test_a_backfill_that_is_cancelled_meanwhile_ends_the_wait(airflow):
    airflow.leave("running", "queued")
    airflow.cancel("running", "failed")
    assert states(demo.nightly(DAYS)) == dict.fromkeys(DAYS, "success")


def test_days_cleared_after_their_backfill_was_cancelled_are_freed_and_run(airflow):
    airflow.leave("success", "queued")
    airflow.cancel("success", "queued")
    assert states(demo.nightly(DAYS[:2])) == dict.fromkeys(DAYS[:2], "success")
    assert posts(airflow) == 1


def test_runs_that_are_cancelled_while_they_are_watched_count_as_ended(airflow, monkeypatch):
    airflow.leave("running", "queued")
    looks = []

    def cancel_later(_):
        looks.append(1)
        if len(looks) == 1:
            airflow.cancel("running", "failed")

    monkeypatch.setattr("time.sleep", cancel_later)
    outcomes = states(demo.nightly(DAYS[:2]))
    assert outcomes == {DAYS[0]: "success", DAYS[1]: "failed"}
