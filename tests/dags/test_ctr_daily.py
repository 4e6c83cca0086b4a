"""The DAG parses fast, is documented, and behaves as the documentation for the person on call says."""

import subprocess
import sys

import pytest

from include.cli.progress import LINES
from include.orchestration.alerts import notify_failure, notify_killed
from include.setting_groups import PROJECT

HEAVY = ("torch", "pyspark", "pandas", "great_expectations", "mlflow", "transformers", "faiss")


@pytest.fixture(scope="module")
def dag():
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT / "dags" / "ctr_daily.py"))
    assert bag.import_errors == {}
    return bag.dags["ctr_daily"]


@pytest.mark.parametrize("name", ["ctr_daily", "ctr_rollback"])
def test_parsing_imports_nothing_heavy(name):
    code = (
        f"import runpy, sys; runpy.run_path('dags/{name}.py'); "
        f"sys.exit(','.join(name for name in {HEAVY!r} if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_task_has_an_owner_documentation_and_retry_policy(dag):
    """The policy spares data errors, which no retry repairs."""
    for task in dag.tasks:
        assert task.owner == "ctr"
        assert task.doc_md or task.doc, task.task_id
        assert task.retry_policy is not None, task.task_id


def test_only_a_final_failure_sends_a_notice_and_only_one(dag):
    for task in dag.tasks:
        assert task.on_failure_callback == [notify_failure], task.task_id
        assert not task.on_retry_callback, task.task_id
    # Those of killed tasks alone (include/orchestration/alerts.py); a red report leaves its run green.
    assert (dag.on_failure_callback, dag.on_success_callback) == (notify_killed, notify_killed)


def test_every_task_is_on_a_line_of_the_progress(dag):
    assert {task.task_id for task in dag.tasks} == {task for tasks in LINES.values() for task in tasks}


def test_a_run_covers_one_utc_day(dag):
    assert dag.timetable.expression == "0 0 * * *"
    assert type(dag.timetable).__name__ == "CronDataIntervalTimetable"
    assert dag.catchup is False
    assert dag.max_active_runs == 1


def test_tasks_that_load_a_model_run_where_torch_is(dag):
    for name in ("embed_texts", "embed_cold", "train", "evaluate", "monitor", "gate", "promote", "report"):
        assert dag.get_task(name).queue == "gpu", name


def test_training_tasks_go_to_the_gpu_queue_one_at_a_time(dag):
    for name in ("embed_texts", "embed_cold", "train", "evaluate", "gate"):
        assert (dag.get_task(name).queue, dag.get_task(name).pool) == ("gpu", "gpu")


@pytest.mark.parametrize("stage", ["logs", "features", "training"])
def test_each_stage_is_checked_before_anything_reads_it(dag, stage):
    job = {"logs": "ingest_logs", "features": "build_features", "training": "build_training_table"}[stage]
    check = dag.get_task(f"check_{stage}")
    between = {"audit_leakage"} if stage == "training" else {job}
    assert check.upstream_task_ids == between
    assert dag.get_task(job).downstream_task_ids == ({"audit_leakage"} if stage == "training" else {f"check_{stage}"})


def test_the_report_runs_whatever_happened_and_hides_no_failure(dag):
    report = dag.get_task("report")
    assert report.is_teardown
    assert not report.on_failure_fail_dagrun


def test_monitoring_stops_nothing_but_a_failure_of_it_shows(dag):
    monitor = dag.get_task("monitor")
    assert monitor.upstream_task_ids == {"evaluate"}
    assert monitor.downstream_task_ids == {"report"}, "with a teardown alone below it, it decides on the run's state"
    for name in ("gate", "decide", "ask_a_person", "promote", "keep_champion"):
        assert "monitor" not in dag.get_task(name).get_flat_relative_ids(upstream=True), name


@pytest.mark.parametrize(
    ("run_type", "choice", "option"),
    [
        ("scheduled", "auto", "--may-promote"),
        ("manual", "auto", "--may-promote"),
        ("backfill", "auto", "--no-may-promote"),
        ("backfill", "yes", "--may-promote"),
        ("scheduled", "no", "--no-may-promote"),
    ],
)
def test_backfills_promote_only_on_request(dag, run_type, choice, option):
    from types import SimpleNamespace

    from airflow.sdk.api.datamodels._generated import DagRunType

    run = SimpleNamespace(run_type=DagRunType(run_type))
    assert dag.user_defined_macros["may_promote"](run, choice) == option
