"""A data error is told apart from a fault that a retry may mend."""

import sys
from types import SimpleNamespace

import pytest
from airflow.exceptions import AirflowException
from airflow.sdk import RetryAction

from include.errors import DataQualityError
from include.operators import RETRY_POLICY, SparkDayOperator, TrainingOperator, UnretryableError


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
    with pytest.raises(UnretryableError, match="a retry cannot mend"):
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
    assert seen[0][:4] == [sys.executable, "-m", "training", "gate"]
    assert seen[0][-1] == "--may-promote"


def test_the_retry_policy_fails_data_errors_at_once_and_leaves_the_rest_to_retries():
    assert RETRY_POLICY.evaluate(DataQualityError("bad"), 1, 2).action is RetryAction.FAIL
    assert RETRY_POLICY.evaluate(ConnectionError("gone"), 1, 2).action is RetryAction.DEFAULT
