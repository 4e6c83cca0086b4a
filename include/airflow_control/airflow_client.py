"""The few calls of Airflow's REST API that the project needs: runs, tasks, logs and backfills of `ctr_daily`."""

import json
import time
from collections.abc import Collection
from datetime import date, datetime
from typing import Any

import httpx
from pydantic import TypeAdapter

from include.calendar import days_between, log_day
from include.days.runs import DAG_ID, Run
from include.errors import CtrError
from include.settings import PROJECT

TEARDOWN = "report"
_PARSE_SECONDS = 180
_RESTART_SECONDS = 60
_CLOSING_TRIES = 90


class AirflowClient:
    """The few calls of Airflow's REST API (v2) that the project needs."""

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._password = password

    def login(self) -> None:
        """Gets a token as `admin`."""
        answer = self._http.post("/auth/token", json={"username": "admin", "password": self._password})
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """Make one call of `/api/v2` and return its JSON; raises `CtrError` with Airflow's own words."""
        return _accepted(self._request(method, f"/api/v2{path}", **kwargs))

    def _request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Ask for up to a minute until somebody answers, and a GET without an error of the server's own.

        It, or its database, may be restarted. Logs in again where the token has expired.
        """
        deadline = time.monotonic() + _RESTART_SECONDS
        while True:
            try:
                answer = self._http.request(method, path, **kwargs)
                if answer.status_code == httpx.codes.UNAUTHORIZED and "Authorization" in self._http.headers:
                    self.login()
                    answer = self._http.request(method, path, **kwargs)
            except httpx.HTTPError as error:
                if time.monotonic() > deadline:
                    raise CtrError(
                        f"Airflow does not answer at {self.url}: {error}. Next: see that it runs, then repeat the command."
                    ) from error
            else:
                if method != "GET" or not answer.is_server_error or time.monotonic() > deadline:
                    return answer
            time.sleep(2)

    def create_pools(self) -> None:
        """Creates the pools of include/airflow_control/pools.json that are missing."""
        existing = {pool["name"] for pool in self.call("GET", "/pools")["pools"]}
        for name, pool in json.loads((PROJECT / "include/airflow_control/pools.json").read_text()).items():
            if name not in existing:
                self.call("POST", "/pools", json={"name": name, **pool})

    def wait_for_dag(self, seconds: int = _PARSE_SECONDS) -> None:
        """Waits until the DAG is parsed; raises `CtrError` with its import error if it cannot be."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(
                dag["dag_id"] == DAG_ID for dag in self.call("GET", "/dags", params={"exclude_stale": True})["dags"]
            ):
                return
            errors = self.call("GET", "/importErrors")["import_errors"]
            if errors:
                raise CtrError(f"{errors[0]['filename']} cannot be imported:\n{errors[0]['stack_trace']}")
            time.sleep(1)
        raise CtrError(f"Airflow did not list {DAG_ID} within {seconds} s: see the logs of its DAG processor.")

    def refuse_paused(self) -> None:
        """Raise `CtrError` where the DAG is paused: no run of it would start, and to unpause it starts its schedule too."""
        if self.call("GET", f"/dags/{DAG_ID}")["is_paused"]:
            raise CtrError(
                f"{DAG_ID} is paused in Airflow at {self.url}, so no run would start. Unpause it there, then repeat."
            )

    def unpause(self) -> None:
        """Lets the DAG's queued runs start, those of a paused backfill too."""
        self.call("PATCH", f"/dags/{DAG_ID}", json={"is_paused": False})
        for backfill in self._open():
            if backfill["is_paused"]:
                self.call("PUT", f"/backfills/{backfill['id']}/unpause")

    def backfill(self, first: date, last: date, conf: dict[str, Any]) -> datetime:
        """Start Airflow's own backfill over the log days [first, last], ascending, one at a time.

        Returns:
            When it was made, by Airflow's clock: its runs are queued since.
        """
        body = {
            "dag_id": DAG_ID,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "max_active_runs": 1,
            "reprocess_behavior": "completed",
            "dag_run_conf": conf,
        }
        for _ in range(_CLOSING_TRIES):
            answer = self._request("POST", "/api/v2/backfills", json=body)
            if answer.status_code != httpx.codes.CONFLICT:
                break
            # A try that was not answered may have made it; one whose runs have ended is closed by the scheduler a little later.
            if mine := [each for each in self._open() if body.items() <= _as_asked(each).items()]:
                return datetime.fromisoformat(mine[0]["created_at"])
            time.sleep(2)
        return datetime.fromisoformat(_accepted(answer)["created_at"])

    def open_backfills(self) -> list[list[date]]:
        """Return the log days of each backfill that is not completed; Airflow takes no other one beside it."""
        spans = [
            [log_day(datetime.fromisoformat(each[end])) for end in ("from_date", "to_date")] for each in self._open()
        ]
        return [list(days_between(first, last)) for first, last in spans]

    def _open(self) -> list[dict[str, Any]]:
        found = self.call("GET", "/backfills", params={"dag_id": DAG_ID, "order_by": "-id"})["backfills"]
        return [each for each in found if not each["completed_at"]]

    def runs(self, *states: str) -> list[dict[str, Any]]:
        """The DAG's runs, of some states or of all, newest first."""
        params = {"limit": 100, "order_by": "-run_after", "state": states}
        return list(self.call("GET", f"/dags/{DAG_ID}/dagRuns", params=params)["dag_runs"])

    def runs_of_days(self, first: date, last: date) -> dict[date, Run]:
        """Return the latest run of each log day from `first` to `last`, and of every other day with a run that has not ended."""
        found = self._ask_pages("/runs", {"first": str(first), "last": str(last)})
        return TypeAdapter(dict[date, Run]).validate_json(found)

    def free_cancelled(self, days: Collection[date]) -> list[str]:
        """Mark as failed the queued runs of these days that belong to a cancelled backfill, and return their ids.

        Airflow would never start them, and a new backfill leaves out days whose run is queued. A pending teardown would keep
        the run's state as it is, so it is skipped first.
        """
        stuck = TypeAdapter(dict[str, date]).validate_json(self._ask_pages("/runs/stuck", {}))
        freed = [run_id for run_id, day in stuck.items() if day in days]
        for run_id in freed:
            path = f"/dags/{DAG_ID}/dagRuns/{run_id}"
            self.call("PATCH", f"{path}/taskInstances/{TEARDOWN}", json={"new_state": "skipped"})
            self.call("PATCH", path, json={"state": "failed"})
        return freed

    def _ask_pages(self, path: str, params: dict[str, str]) -> bytes:
        """JSON of the project's pages, which know more of a run than Airflow's own API, such as its backfill."""
        answer = self._request("GET", f"/ctr/api{path}", params=params)
        if answer.is_error:
            raise CtrError(
                f"The pages of Airflow at {self.url} did not answer: expected status 200 from /ctr/api{path}, found "
                f"{answer.status_code} {answer.text[:200]}. Next: is the project's plugin loaded ([core] plugins_folder)?"
            )
        return answer.content

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        return list(
            self.call("GET", f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances", params={"limit": 100})["task_instances"]
        )

    def log_tail(self, run_id: str, task_id: str, try_number: int, lines: int = 25) -> str:
        """The end of a task's log, as text."""
        path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{max(try_number, 1)}"
        content = self.call("GET", path, headers={"Accept": "application/json"})["content"]
        events = [entry["event"] if isinstance(entry, dict) else str(entry) for entry in content]
        return "\n".join(events[-lines:])


def _accepted(answer: httpx.Response) -> Any:
    """The JSON of an answer; raises `CtrError` with Airflow's own words for a refusal."""
    if answer.is_error:
        request = answer.request
        raise CtrError(f"Airflow refused {request.method} {request.url.path}: {answer.status_code} {answer.text[:500]}")
    return answer.json() if answer.content else None


def _as_asked(backfill: dict[str, Any]) -> dict[str, Any]:
    """A backfill as `AirflowClient.backfill` asks for it."""
    return backfill | {
        end: f"{log_day(datetime.fromisoformat(backfill[end]))}T00:00:00Z" for end in ("from_date", "to_date")
    }
