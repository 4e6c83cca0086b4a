"""A client of Airflow's REST API: runs, tasks, logs and backfills of `ctr_daily`."""

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
from include.setting_groups import PROJECT

TEARDOWN = "report"
_PARSE_SECONDS = 180
_RESTART_SECONDS = 60
_CLOSING_TRIES = 90


class AirflowClient:
    """The calls of Airflow's REST API (v2) that the project needs."""

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self._password = password

    def login(self) -> None:
        """Get a token as `admin`."""
        response = self._http.post("/auth/token", json={"username": "admin", "password": self._password})
        response.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"

    def call(self, method: str, path: str, **kwargs: Any) -> Any:
        """Make one call of `/api/v2` and return its JSON; raises `CtrError` with Airflow's message."""
        return _accepted(self._request(method, f"/api/v2{path}", **kwargs))

    def _request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Send a request, repeated for up to a minute until Airflow answers, and a GET until it answers without a server error.

        Airflow or its database may be restarting. Logs in again where the token has expired.
        """
        deadline = time.monotonic() + _RESTART_SECONDS
        while True:
            try:
                response = self._http.request(method, path, **kwargs)
                if response.status_code == httpx.codes.UNAUTHORIZED and "Authorization" in self._http.headers:
                    self.login()
                    response = self._http.request(method, path, **kwargs)
            except httpx.HTTPError as error:
                if time.monotonic() > deadline:
                    raise CtrError(
                        f"Airflow does not answer at {self.url}: {error}. Next: check that it runs, then repeat the command."
                    ) from error
            else:
                if method != "GET" or not response.is_server_error or time.monotonic() > deadline:
                    return response
            time.sleep(2)

    def create_pools(self) -> None:
        """Create the pools of include/airflow_control/pools.json that are missing."""
        existing = {pool["name"] for pool in self.call("GET", "/pools")["pools"]}
        for name, pool in json.loads((PROJECT / "include/airflow_control/pools.json").read_text()).items():
            if name not in existing:
                self.call("POST", "/pools", json={"name": name, **pool})

    def wait_for_dag(self, seconds: int = _PARSE_SECONDS) -> None:
        """Wait until the DAG is parsed; raises `CtrError` with its import error if it cannot be."""
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
        """Raise `CtrError` where the DAG is paused: no run would start, and unpausing it would start its schedule too."""
        if self.call("GET", f"/dags/{DAG_ID}")["is_paused"]:
            raise CtrError(
                f"{DAG_ID} is paused in Airflow at {self.url}, so no run would start. Unpause it there, then repeat."
            )

    def unpause(self) -> None:
        """Unpause the DAG and its backfills, so that queued runs start."""
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
            response = self._request("POST", "/api/v2/backfills", json=body)
            if response.status_code != httpx.codes.CONFLICT:
                break
            # A request without a response may have made it; a backfill whose runs have ended is closed a little later.
            if created := [
                open_backfill for open_backfill in self._open() if body.items() <= _as_requested(open_backfill).items()
            ]:
                return datetime.fromisoformat(created[0]["created_at"])
            time.sleep(2)
        return datetime.fromisoformat(_accepted(response)["created_at"])

    def open_backfills(self) -> list[list[date]]:
        """Return the log days of each backfill that is not completed; Airflow accepts no other one meanwhile."""
        spans = [
            [log_day(datetime.fromisoformat(backfill[end])) for end in ("from_date", "to_date")]
            for backfill in self._open()
        ]
        return [list(days_between(first, last)) for first, last in spans]

    def _open(self) -> list[dict[str, Any]]:
        backfills = self.call("GET", "/backfills", params={"dag_id": DAG_ID, "order_by": "-id"})["backfills"]
        return [backfill for backfill in backfills if not backfill["completed_at"]]

    def runs(self, *states: str) -> list[dict[str, Any]]:
        """Return the DAG's runs, of some states or of all, newest first."""
        params = {"limit": 100, "order_by": "-run_after", "state": states}
        return list(self.call("GET", f"/dags/{DAG_ID}/dagRuns", params=params)["dag_runs"])

    def runs_of_days(self, first: date, last: date) -> dict[date, Run]:
        """Return the latest run of each log day from `first` to `last`, and of every other day with a run that has not ended."""
        content = self._ask_pages("/runs", {"first": str(first), "last": str(last)})
        return TypeAdapter(dict[date, Run]).validate_json(content)

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
        """Return JSON of the project's pages, which show more of a run than Airflow's own API, such as its backfill."""
        response = self._request("GET", f"/ctr/api{path}", params=params)
        if response.is_error:
            raise CtrError(
                f"The pages of Airflow at {self.url} did not answer: expected status 200 from /ctr/api{path}, found "
                f"{response.status_code} {response.text[:200]}. "
                "Next: check that the project's plugin is loaded ([core] plugins_folder)."
            )
        return response.content

    def tasks(self, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        return list(
            self.call("GET", f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances", params={"limit": 100})["task_instances"]
        )

    def log_tail(self, run_id: str, task_id: str, try_number: int, lines: int = 25) -> str:
        """Return the end of a task's log, as text."""
        path = f"/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{max(try_number, 1)}"
        content = self.call("GET", path, headers={"Accept": "application/json"})["content"]
        events = [entry["event"] if isinstance(entry, dict) else str(entry) for entry in content]
        return "\n".join(events[-lines:])


def _accepted(response: httpx.Response) -> Any:
    """Return the JSON of a response; raises `CtrError` with Airflow's message for an error."""
    if response.is_error:
        request = response.request
        raise CtrError(
            f"Airflow refused {request.method} {request.url.path}: {response.status_code} {response.text[:500]}"
        )
    return response.json() if response.content else None


def _as_requested(backfill: dict[str, Any]) -> dict[str, Any]:
    """Return a backfill with the bounds that `AirflowClient.backfill` requests."""
    return backfill | {
        end: f"{log_day(datetime.fromisoformat(backfill[end]))}T00:00:00Z" for end in ("from_date", "to_date")
    }
