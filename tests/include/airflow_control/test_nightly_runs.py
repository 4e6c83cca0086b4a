"""How nightly runs are begun, followed and taken up again, against a server that answers as Airflow does."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest

from include.airflow_control import nightly_runs
from include.airflow_control.airflow_client import AirflowClient
from include.airflow_control.nightly_runs import run_days
from include.errors import CtrError

DAYS = [date(2023, 7, 17) + timedelta(days=n) for n in range(3)]
ENDED = ("success", "failed")


class Airflow:
    """One DAG with its runs and backfills; each look at the runs lets the first unfinished one go a step further."""

    def __init__(self) -> None:
        self.paused, self.moves, self.backfills, self.posts, self.seconds = False, True, [], [], 0
        self.runs: dict[date, dict[str, Any]] = {}
        self.cancelled: set[date] = set()

    def now(self) -> str:
        self.seconds += 1
        return (datetime(2023, 7, 20, tzinfo=UTC) + timedelta(seconds=self.seconds)).isoformat()

    def add(self, day: date, state: str = "queued", run_type: str = "backfill") -> None:
        run = {"run_id": f"{run_type}__{day}", "run_type": run_type, "state": state, "page": "", "tasks": []}
        times = {"logical_date": None, "queued": self.now(), "start": None, "end": None}
        times |= {"start": self.now()} if state != "queued" else {}
        times |= {"end": self.now()} if state in ENDED else {}
        self.runs[day] = run | times

    def leave(self, *states: str) -> None:
        """A backfill of all days whose runs of the first days are as a killed call has left them."""
        self._open(DAYS[0], DAYS[len(states) - 1], {})
        for day, state in zip(DAYS, states, strict=False):
            self.add(day, state)

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        url = urlsplit(path.removeprefix("/api/v2"))
        if url.path == "/ctr/api/runs":
            return 200, self._look()
        if url.path == "/ctr/api/runs/stuck":
            return 200, {self.runs[day]["run_id"]: str(day) for day in self._stuck()}
        if method == "PATCH" and "/taskInstances/" not in url.path and "/dagRuns/" in url.path:
            day = next(day for day, run in self.runs.items() if url.path.endswith(run["run_id"]))
            self.runs[day] |= {"state": body["state"], "end": self.now()}
            return 200, {}
        if method == "POST":
            return self._backfill(body)
        return 200, {"backfills": self.backfills[::-1]}

    def cancel(self, *states: str) -> None:
        """As *Cancel backfill*: runs that have not begun are failed without a start, and never start when cleared."""
        self.backfills[-1] |= {"is_paused": True, "completed_at": "now"}
        for run, state in zip(self.runs.values(), states, strict=True):
            run["state"] = state
        self.cancelled = set(self.runs)

    def _look(self) -> dict[str, Any]:
        stuck = self._stuck()
        seen = {
            str(day): run | {"hindrance": "cancelled backfill" if day in stuck else None}
            for day, run in self.runs.items()
        }
        waiting = [day for day, run in sorted(self.runs.items()) if run["state"] not in ENDED and day not in stuck]
        if waiting and self.moves:
            run = self.runs[waiting[0]]
            begins = run["state"] == "queued"
            run |= {"state": "running", "start": self.now()} if begins else {"state": "success", "end": self.now()}
        return seen

    def _stuck(self) -> set[date]:
        return {day for day, run in self.runs.items() if run["state"] == "queued" and day in self.cancelled}

    def _open(self, first: date, last: date, conf: dict[str, Any]) -> dict[str, Any]:
        span = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z", "dag_run_conf": conf}
        same = {"dag_id": "ctr_daily", "max_active_runs": 1, "reprocess_behavior": "completed"}
        made = {"id": len(self.backfills) + 1, "is_paused": False, "completed_at": None, "created_at": self.now()}
        self.backfills.append(span | same | made)
        return self.backfills[-1]

    def _backfill(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.posts.append(body)
        if any(not backfill["completed_at"] for backfill in self.backfills):
            if all(run["state"] in ENDED for run in self.runs.values()):
                self.backfills[-1]["completed_at"] = "now"  # as the scheduler does a little later
            return 409, {"detail": "There is already a running backfill for dag ctr_daily"}
        first, last = (date.fromisoformat(body[name][:10]) for name in ("from_date", "to_date"))
        made = self._open(first, last, body["dag_run_conf"])
        for day in DAYS:
            if first <= day <= last and (
                day not in self.runs or self.runs[day]["state"] in ENDED
            ):  # else it is left out
                self.cancelled.discard(day)
                self.add(day)
        return 200, made


@pytest.fixture
def airflow(monkeypatch) -> Iterator[Airflow]:
    """A server on loopback that answers as Airflow does."""
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

    found.client = AirflowClient(f"http://127.0.0.1:{server.server_address[1]}", "")
    monkeypatch.setattr("time.sleep", lambda _: None)
    yield found
    server.shutdown()
    server.server_close()


def run(airflow: Airflow, days: list[date], began: datetime | None = None) -> dict[date, str]:
    return {day: outcome.state for day, outcome in run_days(airflow.client, days, {"promote": "auto"}, began).items()}


def test_a_first_call_runs_all_days_as_one_backfill(airflow):
    assert run(airflow, DAYS) == dict.fromkeys(DAYS, "success")
    assert len(airflow.posts) == 1


@pytest.mark.parametrize("left", [("queued",) * 3, ("running", "queued", "queued"), ("success", "running", "queued")])
def test_runs_that_a_killed_call_left_are_not_begun_anew(airflow, left):
    airflow.leave(*left)
    open_days = DAYS[left.count("success") :]
    assert run(airflow, open_days) == dict.fromkeys(open_days, "success")
    assert airflow.posts == []


def test_days_that_a_left_call_has_run_are_not_run_again(airflow):
    airflow.leave("success", "success", "running")
    began = datetime.fromisoformat(airflow.backfills[-1]["created_at"])
    assert run(airflow, DAYS, began) == dict.fromkeys(DAYS, "success")
    assert airflow.posts == []


def test_days_that_were_not_among_those_left_are_run_after_them(airflow):
    airflow.leave("running")
    assert run(airflow, DAYS[1:]) == dict.fromkeys(DAYS[1:], "success")
    assert airflow.runs[DAYS[0]]["state"] == "success"
    assert len(airflow.posts) == 2  # the first comes before the scheduler has closed the earlier backfill


def test_a_backfill_not_yet_closed_by_the_scheduler_is_awaited(airflow):
    airflow.leave("success", "failed")
    assert run(airflow, DAYS[1:]) == dict.fromkeys(DAYS[1:], "success")
    assert len(airflow.posts) == 2


def test_a_request_that_was_not_answered_is_not_made_twice(airflow):
    first = airflow.client.backfill(DAYS[0], DAYS[2], {"promote": "auto"})
    assert airflow.client.backfill(DAYS[0], DAYS[2], {"promote": "auto"}) == first
    assert len(airflow.backfills) == 1


def test_a_scheduled_run_that_is_under_way_is_waited_for(airflow):
    airflow.add(DAYS[2], "running", "scheduled")
    assert run(airflow, DAYS) == dict.fromkeys(DAYS, "success")
    assert [(post["from_date"][:10], post["to_date"][:10]) for post in airflow.posts] == [(str(DAYS[0]), str(DAYS[1]))]


@pytest.mark.parametrize("left", [(), ("running", "queued")])
def test_runs_that_never_move_end_with_what_to_do(airflow, monkeypatch, left):
    airflow.moves = False
    if left:
        airflow.leave(*left)
    monkeypatch.setattr(nightly_runs, "_IDLE_SECONDS", 0)
    with pytest.raises(CtrError, match=r"No task of ctr_daily has changed.*2023-07-17 .*ctr ui.*repeat the command"):
        run(airflow, DAYS)


def test_a_backfill_that_is_cancelled_meanwhile_ends_the_wait(airflow):
    airflow.leave("running", "queued")
    airflow.cancel("running", "failed")
    assert run(airflow, DAYS) == dict.fromkeys(DAYS, "success")


def test_days_cleared_after_their_backfill_was_cancelled_are_run(airflow):
    airflow.leave("success", "queued")
    airflow.cancel("success", "queued")
    assert run(airflow, DAYS[:2]) == dict.fromkeys(DAYS[:2], "success")
    assert len(airflow.posts) == 1


def test_runs_cancelled_while_they_are_followed_count_as_ended(airflow, monkeypatch):
    airflow.leave("running", "queued")
    looks = []

    def cancel_later(_):
        looks.append(1)
        if len(looks) == 1:
            airflow.cancel("running", "failed")

    monkeypatch.setattr("time.sleep", cancel_later)
    assert run(airflow, DAYS[:2]) == {DAYS[0]: "success", DAYS[1]: "failed"}
