"""A run that was started with wrong parameters ends at once: one failed task, one notice, nothing retried."""

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType

from include.errors import InvalidInputError
from include.setting_groups import PROJECT

TOMORROW = str(datetime.now(UTC).date() + timedelta(days=1))


@pytest.fixture(scope="module")
def database():
    """An Airflow database that knows the project's DAGs."""
    from airflow import settings
    from airflow.utils.db import initdb

    initdb()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "DAGS_FOLDER", str(PROJECT / "dags"))
        yield


def run(dag_id, conf, caplog, **more):
    """A finished run of a DAG in this process, its tasks by name, and the notices that it sent."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT / "dags" / f"{dag_id}.py"))
    assert bag.import_errors == {}
    with caplog.at_level(logging.ERROR):
        done = bag.dags[dag_id].test(run_conf=conf, **more)
    notices = [record.message for record in caplog.records if record.name == "include.orchestration.alerts"]
    return done, {task.task_id: task for task in done.get_task_instances()}, notices


@pytest.mark.parametrize(
    ("conf", "sentence"),
    [
        ({}, 'Trigger it with a parameter: {"day": "YYYY-MM-DD"}.'),
        ({"dya": "2023-07-17"}, "There is no parameter 'dya': expected day, promote"),
        ({"day": TOMORROW}, f"The day {TOMORROW} has not ended"),
    ],
)
def test_a_run_without_a_usable_day_fails_once(database, caplog, conf, sentence):
    done, tasks, notices = run("ctr_daily", conf, caplog, logical_date=None)
    assert done.state == "failed"
    assert [name for name, task in tasks.items() if task.state == "failed"] == ["validate_parameters"]
    assert {task.state for name, task in tasks.items() if name != "validate_parameters"} == {"upstream_failed"}
    assert {task.try_number for task in tasks.values()} == {0, 1}
    assert len(notices) == 1
    assert sentence in notices[0]


def test_a_misspelt_version_rolls_nothing_back(database, home, caplog):
    done, tasks, notices = run("ctr_rollback", {"version": 3}, caplog)
    assert (done.state, [task.try_number for task in tasks.values()]) == ("failed", [1])
    assert len(notices) == 1
    assert "There is no parameter 'version': expected to, reason" in notices[0]


@pytest.mark.parametrize("run_type", ["backfill", "manual"])
def test_a_backfill_refuses_a_day_and_a_manual_run_takes_it(run_type):
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(dag_folder=str(PROJECT / "dags" / "ctr_daily.py")).dags["ctr_daily"]
    check = dag.get_task("validate_parameters").python_callable
    # As a task gets it: a member of an enumeration, whose text is not its value.
    dag_run = SimpleNamespace(run_type=DagRunType(run_type), conf={"day": "2023-07-17", "promote": "auto"})
    if run_type == "manual":
        assert check(dag, dag_run, dag_run.conf) == "2023-07-17"
        return
    with pytest.raises(InvalidInputError, match=r"takes its days from its range.*leave 'day' empty"):
        check(dag, dag_run, dag_run.conf, datetime(2023, 7, 16, tzinfo=UTC))
    empty = {"day": None, "promote": "auto"}  # what the form sends
    dag_run.conf = empty
    assert check(dag, dag_run, empty, datetime(2023, 7, 16, tzinfo=UTC)) == "2023-07-16"
