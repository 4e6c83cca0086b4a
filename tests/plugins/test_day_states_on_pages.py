"""The pages say the state of a day in the words of include/days/day_states.py, from Airflow's own tables."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from airflow.models.backfill import Backfill
from airflow.models.dag import DagModel
from airflow.models.taskinstance import TaskInstance
from page_records import check

from include.days.runs import Run
from include.lake.manifest import Manifest, TableVersion
from include.raw.deliveries import Raw
from include.records import Wait

DAY = date(2023, 7, 17)
NIGHT = datetime(2023, 7, 18, tzinfo=UTC)


@pytest.fixture
def backfill(session):
    """Adds a backfill; `cancelled` as Airflow leaves it."""

    def added(*, paused=True, cancelled=True):
        backfill = Backfill(dag_id="ctr_daily", from_date=NIGHT, to_date=NIGHT, is_paused=paused)
        backfill.completed_at = NIGHT if cancelled else None
        session.add(backfill)
        session.commit()
        return backfill.id

    return added


@pytest.fixture
def task(session):
    """Adds a task of a run, in a state."""

    def added(run, task_id, state):
        # The row alone is read; the constructor wants the DAG.
        keys = {"id": uuid4(), "task_id": task_id, "dag_id": run.dag_id, "run_id": run.run_id, "map_index": -1}
        rest = {"try_number": 1, "max_tries": 0, "pool": "p", "pool_slots": 1}
        session.execute(TaskInstance.__table__.insert().values(**keys, state=state, start_date=NIGHT, **rest))
        session.commit()

    return added


def state_on_days(client, day=DAY):
    found = client.get("/api/days").json()
    return next(row["state"] for row in found["days"] if row["day"] == str(day))


def deliver(day=DAY):
    folder = Raw().full(f"date={day}")
    Raw().fs.makedirs(folder, exist_ok=True)
    Raw().fs.pipe(f"{folder}/part-0.csv", b"user_id\n")


@pytest.mark.parametrize(
    ("made", "hindrance", "state"),
    [
        ({"paused": True, "cancelled": True}, "cancelled backfill", "queued behind a cancelled backfill"),
        ({"paused": True, "cancelled": False}, "paused backfill", "queued"),
        ({"paused": False, "cancelled": True}, None, "queued"),
    ],
)
def test_a_queued_run_says_what_keeps_it(client, run, backfill, made, hindrance, state):
    deliver()
    run(DAY, "queued", backfill_id=backfill(**made))
    (run_of_day,) = client.get("/api/runs", params={"first": str(DAY), "last": str(DAY)}).json().values()
    assert Run.model_validate(run_of_day).hindrance == hindrance
    assert state_on_days(client)["state"] == state
    page = client.get(f"/quality/day?day={DAY}").text
    assert f"<h1>{DAY}: {state}</h1>" in page
    assert ("<code>ctr backfill --from 2023-07-17" in page) == (hindrance == "cancelled backfill")


def test_a_queued_run_of_a_paused_dag_says_so(client, run, session):
    deliver()
    session.add(DagModel(dag_id="ctr_daily", is_paused=True, bundle_name="b"))
    run(DAY, "queued")
    assert "DAG is paused" in state_on_days(client)["detail"]


def test_a_day_whose_log_never_came_is_listed_and_headed_so(client, lake, run):
    deliver(DAY - timedelta(days=1))
    lake.write_record(Wait(day=DAY, since=NIGHT, due=NIGHT, until=NIGHT, gave_up_at=NIGHT, notified_at=NIGHT))
    run(DAY, "success")
    assert state_on_days(client)["state"] == "no log came"
    page = client.get(f"/quality/day?day={DAY}").text
    assert f"<h1>{DAY}: no log came</h1>" in page
    assert "no check failed" not in page


def test_a_wait_alone_makes_a_page_of_the_day(client, lake):
    lake.write_record(Wait(day=DAY, since=NIGHT, due=NIGHT, until=NIGHT))
    assert client.get(f"/quality/day?day={DAY}").status_code == 200


@pytest.mark.parametrize(("state", "listed"), [("running", False), ("success", True)])
def test_what_is_being_made_is_not_to_redo(client, lake, run, task, state, listed):
    deliver()
    deliver(DAY + timedelta(days=1))
    for day in (DAY - timedelta(days=1), DAY + timedelta(days=1)):
        table = vars(TableVersion("p", 20, 1, "s"))
        manifest = vars(Manifest("logs", str(day), "b", {}, 20, {}, "c", "s")) | {"tables": {"logs": table}}
        lake.write_json(f"_manifests/logs/dt={day}.json", manifest)
    dag_run = run(DAY, state)
    task(dag_run, "ingest_logs", state)
    found = client.get("/api/days").json()
    row = next(row for row in found["days"] if row["day"] == str(DAY))
    assert (bool(row["redo"]), str(DAY) in found["plan"]) == (listed, listed)
    assert (row["state"]["state"] == "running") != listed
    assert ("ingest_logs" in row["state"]["detail"]) != listed


def test_a_failed_check_is_no_headline_once_the_day_is_cleared(client, lake, write, run):
    write("logs", DAY, check(ok=False))
    dag_run = run(DAY, "failed")
    assert f"{DAY}: cancelled" in client.get(f"/quality/day?day={DAY}").text, "no task of the run failed"
    dag_run.state = "queued"
    assert f"<h1>{DAY}: queued</h1>" in client.get(f"/quality/day?day={DAY}").text


def test_a_failed_run_is_headed_by_its_stage(client, write, run, task):
    write("logs", DAY, check(ok=False))
    task(run(DAY, "failed"), "check_logs", "failed")
    page = client.get(f"/quality/day?day={DAY}").text
    assert f"{DAY} stopped at its <em>logs</em>" in page
    assert f"ctr quality --day {DAY} --failed" in page


def test_a_day_of_which_only_a_queued_run_is_known_is_listed(client, run, backfill):
    deliver(DAY - timedelta(days=10))
    run(DAY, "queued", backfill_id=backfill())
    assert state_on_days(client)["state"] == "queued behind a cancelled backfill"
    first = str(DAY - timedelta(days=10))
    assert str(DAY) in client.get("/api/runs", params={"first": first, "last": first}).json()


def test_a_stuck_run_is_found_behind_a_later_run_of_its_day(client, run, backfill):
    stuck = run(DAY, "queued", backfill_id=backfill())
    values = {"run_type": "manual", "logical_date": None, "data_interval": None, "conf": {"day": str(DAY)}}
    run(DAY, "running", run_id="manual__1", start_date=datetime.now(UTC) + timedelta(hours=1), **values)
    assert client.get("/api/runs/stuck").json() == {stuck.run_id: str(DAY)}
    assert state_on_days(client)["state"] == "running"
