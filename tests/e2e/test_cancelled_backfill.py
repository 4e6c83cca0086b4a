"""A day that is cleared after its backfill was cancelled: Airflow never starts it, and says so nowhere. It is found and freed."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from e2e_days import FIRST

from include.airflow_control.airflow_client import DAG_ID

DAYS = [FIRST + timedelta(days=n) for n in (20, 21)]
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def cleared(airflow_server):
    """The runs of two days without a log, cleared after *Cancel backfill*; the DAG is paused, so that nothing starts."""
    airflow = airflow_server.client
    dag = f"/dags/{DAG_ID}"
    paused = airflow.call("GET", dag)["is_paused"]
    airflow.call("PATCH", dag, json={"is_paused": True})
    airflow.backfill(DAYS[0], DAYS[1], {"promote": "no"})
    _cancel_open(airflow)
    cancelled = airflow.runs_of_days(*DAYS)
    for run in cancelled.values():
        airflow.call("POST", f"{dag}/dagRuns/{run.run_id}/clear", json={"dry_run": False})
    yield SimpleNamespace(airflow=airflow, cancelled=cancelled, queued=airflow.runs_of_days(*DAYS))
    _cancel_open(airflow)
    airflow.call("PATCH", dag, json={"is_paused": paused})


def _cancel_open(airflow):
    for backfill in airflow.call("GET", "/backfills", params={"dag_id": DAG_ID})["backfills"]:
        if not backfill["completed_at"]:
            airflow.call("PUT", f"/backfills/{backfill['id']}/cancel")


def test_a_cancelled_day_is_failed_without_a_failed_task(cleared):
    assert {run.state for run in cleared.cancelled.values()} == {"failed"}
    assert [run.failed for run in cleared.cancelled.values()] == [[], []]


def test_a_cleared_day_is_known_to_wait_for_ever(cleared):
    assert {run.state for run in cleared.queued.values()} == {"queued"}
    assert {run.hindrance for run in cleared.queued.values()} == {"cancelled backfill"}


def test_freed_days_are_taken_by_the_next_backfill(cleared):
    freed = cleared.airflow.free_cancelled(DAYS)
    assert sorted(freed) == sorted(run.run_id for run in cleared.queued.values())
    assert {run.state for run in cleared.airflow.runs_of_days(*DAYS).values()} == {"failed"}
    cleared.airflow.backfill(DAYS[0], DAYS[1], {"promote": "no"})
    taken = cleared.airflow.runs_of_days(*DAYS)
    assert {run.state for run in taken.values()} == {"queued"}
    assert {run.hindrance for run in taken.values()} == {"paused DAG"}
    assert cleared.airflow.free_cancelled(DAYS) == []
