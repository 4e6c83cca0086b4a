"""A data error is told apart from a fault that a retry may mend; a run waits for its log and says so."""

import json
import sys
from dataclasses import asdict
from datetime import date
from types import SimpleNamespace

import pytest
from airflow.exceptions import AirflowException
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException
from sample_records import train

from include.errors import DataQualityError
from include.lake.lake import get_lake
from include.lake.manifest import Manifest, TableVersion
from include.orchestration import alerts
from include.orchestration.child_process import end_with_parent
from include.orchestration.operators import (
    RETRY_POLICY,
    RawSensor,
    SparkDayOperator,
    TrainingOperator,
    TrainOperator,
    UnretryableError,
)
from include.records import Wait
from include.registry import outdated, registry
from include.settings import get_settings


@pytest.fixture
def run_exit(monkeypatch, tmp_path):
    """Makes `spark-submit` a program that ends with the given status, in place of the cluster."""

    def use(status):
        program = tmp_path / "spark-submit"
        program.write_text(f"#!/bin/sh\necho Error: the day is bad\nexit {status}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[1]"}')
        operator = SparkDayOperator(task_id="job", job="ingest")
        operator.application_args = ["--from", "2023-07-17", "--to", "2023-07-17"]
        return operator

    return use


def test_spark_exit_status_2_is_not_worth_a_retry(run_exit):
    with pytest.raises(UnretryableError, match="a retry cannot fix"):
        run_exit(2).execute({"task_state_store": None})


def test_any_other_spark_failure_is(run_exit):
    with pytest.raises(AirflowException, match="Error code is: 1"):
        run_exit(1).execute({"task_state_store": None})


@pytest.mark.parametrize(("status", "error"), [(2, UnretryableError), (1, AirflowException)])
def test_training_exit_status(monkeypatch, status, error):
    operator = TrainingOperator(task_id="train", command="train")
    monkeypatch.setattr(
        operator,
        "hook",
        SimpleNamespace(run_command=lambda command, cwd: SimpleNamespace(exit_code=status, output="why")),
    )
    with pytest.raises(error, match="why"):
        operator.execute({})


def test_the_training_command_gets_the_interpreter_of_the_worker(monkeypatch):
    operator = TrainingOperator(task_id="gate", command="gate", arguments=["--may-promote"])
    seen = []
    monkeypatch.setattr(
        operator,
        "hook",
        SimpleNamespace(
            run_command=lambda command, cwd: seen.append(command) or SimpleNamespace(exit_code=0, output="ok")
        ),
    )
    assert operator.execute({}) == "ok"
    (command,) = seen
    assert command[: len(end_with_parent())] == end_with_parent()
    assert command[len(end_with_parent()) :][:4] == [sys.executable, "-m", "training", "gate"]
    assert command[-1] == "--may-promote"


@pytest.mark.parametrize(
    ("mode", "begin"), [("client", [*end_with_parent(), "spark-submit"]), ("cluster", ["spark-submit"])]
)
def test_a_driver_in_the_task_ends_with_it(monkeypatch, mode, begin):
    extra = json.dumps({"deploy-mode": mode})
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": "yarn", "extra": extra}))
    operator = SparkDayOperator(task_id="ingest_logs", job="ingest")
    command = operator._get_hook()._build_spark_submit_command("job.py")
    assert command[: len(begin)] == begin


def test_retry_policy_fails_data_errors_at_once_and_no_others():
    assert RETRY_POLICY.evaluate(DataQualityError("bad"), 1, 2).action is RetryAction.FAIL
    assert RETRY_POLICY.evaluate(ConnectionError("gone"), 1, 2).action is RetryAction.DEFAULT


@pytest.fixture
def notices(monkeypatch):
    """What is told, in place of everyone who is."""
    told = []
    monkeypatch.setattr(alerts, "NOTIFIERS", (told.append,))
    return told


def training_ends_well(monkeypatch):
    operator = TrainOperator(task_id="train", command="train")
    operator.arguments = ["--day", "2023-07-19"]
    done = SimpleNamespace(exit_code=0, output="ok")
    monkeypatch.setattr(operator, "hook", SimpleNamespace(run_command=lambda command, cwd: done))
    return operator.execute(
        {"task": SimpleNamespace(dag_id="ctr_daily", task_id="train"), "ti": SimpleNamespace(run_id="r1")}
    )


@pytest.mark.usefixtures("home")
def test_a_trained_model_is_kept_if_the_registry_is_unreachable(monkeypatch, notices):
    asked = []

    def away():
        asked.append(1)
        raise ConnectionError("the registry is away")

    monkeypatch.setattr(outdated, "versions", away)
    assert training_ends_well(monkeypatch) == "ok"
    assert (asked, notices) == ([1], [])


def test_an_outdated_champion_is_told_once(home, monkeypatch, notices):
    (home / "model").mkdir()
    day = date(2023, 7, 17)
    of = {"trained_from": day, "trained_through": day, "base_version": None, "metrics": {}, "params": {}}
    registry.register(home / "model", log_day=date(2023, 7, 18), builds={day: "before"}, content_hash="a", **of)
    registry.promote(1, reason="better", by="gate")
    table = TableVersion("p", 20, 1, "s")
    manifest = Manifest("training", str(day), "after", {"training": table}, 20, {}, "c", "s")
    get_lake().write_json(f"_manifests/training/dt={day}.json", asdict(manifest))
    get_lake().write_record(train(date(2023, 7, 19), 2))
    for _ in range(2):
        assert training_ends_well(monkeypatch) == "ok"
    (told,) = notices
    assert "champion 1 is outdated" in told.title
    assert "2023-07-17 (100%). Tonight's candidate starts from scratch." in told.text


@pytest.fixture
def wait_for_raw(tmp_path, monkeypatch):
    """Looks once for the log of 2023-07-17 as the sensor does, with a timeout in seconds."""

    def look(timeout, rescheduled=None, try_number=1):
        monkeypatch.setenv("CTR_HOME", str(tmp_path))
        monkeypatch.setenv("CTR_RAW_WAIT_SECONDS", str(timeout))
        get_settings.cache_clear()
        sensor = RawSensor(task_id="wait_for_raw", day="2023-07-17")
        ti = SimpleNamespace(
            run_id="r1",
            try_number=try_number,
            max_tries=sensor.retries,
            get_first_reschedule_date=lambda _: rescheduled,
        )
        task = SimpleNamespace(dag_id="ctr_daily", task_id="wait_for_raw")
        return sensor.execute({"ti": ti, "task": task})

    return look


def test_a_run_without_a_log_leaves_its_slot_and_tells_it_once(wait_for_raw, caplog):
    with pytest.raises(AirflowRescheduleException):
        wait_for_raw(3600)
    with pytest.raises(AirflowRescheduleException):
        wait_for_raw(3600, rescheduled=get_lake().record(Wait, date(2023, 7, 17)).since)
    assert [line for line in caplog.messages if "waiting for its log" in line] != []
    assert sum("ctr_daily, 2023-07-17" in line for line in caplog.messages) == 1


def test_files_are_no_log_until_their_deliverer_says_so(wait_for_raw, tmp_path, caplog):
    caplog.set_level("INFO", "include.days.waits")
    folder = tmp_path / "raw/date=2023-07-17"
    folder.mkdir(parents=True)
    (folder / "part-0.csv").write_text("user_id\n")
    with pytest.raises(AirflowRescheduleException):
        wait_for_raw(3600)
    assert "2023-07-17: 1 file, 8 bytes; waits for _SUCCESS or 5 minutes without a change" in caplog.text
    (folder / "_SUCCESS").touch()
    wait_for_raw(3600, rescheduled=get_lake().record(Wait, date(2023, 7, 17)).since)
    assert get_lake().record(Wait, date(2023, 7, 17)).came_at is not None


def test_a_file_after_ingest_is_told_by_the_next_sensor(wait_for_raw, tmp_path, notices):
    for day in (16, 17):
        folder = tmp_path / f"raw/date=2023-07-{day}"
        folder.mkdir(parents=True)
        for name in ("part-0.csv", "_SUCCESS"):
            (folder / name).touch()
    manifest = Manifest("logs", "2023-07-16", "b", {}, 20, {"raw/2023-07-16": "before"}, "c", "s")
    (tmp_path / "lake/_manifests/logs").mkdir(parents=True)
    (tmp_path / "lake/_manifests/logs/dt=2023-07-16.json").write_text(json.dumps(asdict(manifest)))
    for _ in range(2):
        wait_for_raw(3600)
    (notice,) = notices
    assert "2023-07-16: raw files changed after ingest" in notice.title


def test_a_look_that_is_tried_again_goes_on_with_the_wait(wait_for_raw):
    with pytest.raises(AirflowRescheduleException):
        wait_for_raw(3600)
    first = get_lake().record(Wait, date(2023, 7, 17))
    with pytest.raises(AirflowRescheduleException):
        wait_for_raw(3600, try_number=2)
    assert get_lake().record(Wait, date(2023, 7, 17)) == first


def test_a_run_whose_log_never_came_is_skipped_and_says_so(wait_for_raw, caplog):
    with pytest.raises(AirflowSkipException):
        wait_for_raw(0)
    assert get_lake().record(Wait, date(2023, 7, 17)).gave_up_at is not None
    assert sum("ctr_daily, 2023-07-17" in line for line in caplog.messages) == 1
