"""The days of the whole nightly runs, hostile rows of the damaged day, and the actions of a person."""

import csv
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from typing import Any

import psutil
import pytest

from include.airflow_control.airflow_client import DAG_ID, AirflowClient
from include.raw.deliveries import Raw, day_folder
from include.schemas import RAW_COLUMNS
from include.setting_groups import PROJECT

FIRST = date(2023, 7, 10)
HISTORY = 2
GOOD = FIRST + timedelta(days=HISTORY)
BAD = FIRST + timedelta(days=HISTORY + 1)
ROWS = "3000"
HOLD_REASON = "the interval holds 0"
ROLLBACK_REASON = "complaints from scene 3"
HOSTILE = (
    "<script>window.hacked = 1</script>",
    "\"><img src=x onerror='window.hacked = 1'>",
    "<svg/onload='window.hacked = 1'>",
    "</td></table><iframe srcdoc='<script>top.hacked = 1</script>'></iframe>",
    "<a href='javascript:window.hacked = 1'>click</a>",
    "' autofocus onfocus='window.hacked = 1' x='",
    "{{ 7 * 7 }}",
)


def add_hostile_rows(day: date) -> None:
    """One more raw file of the day: rows without a user, whose every other text is hostile."""
    with Raw().fs.open(_hostile_file(day), "w", newline="") as file:
        writer = csv.DictWriter(file, RAW_COLUMNS)
        writer.writeheader()
        for text in HOSTILE:
            writer.writerow(dict.fromkeys(RAW_COLUMNS, text) | {"user_id": "", "log_time": f"{day} 10:00:00"})


def remove_hostile_rows(day: date) -> None:
    """The day's raw files as `ctr sample` wrote them: it overwrites no others."""
    Raw().fs.rm(_hostile_file(day))


def _hostile_file(day: date) -> str:
    return Raw().full(f"{day_folder(day)}/part-hostile.csv")


def ctr_json(*arguments: str) -> Any:
    """Return the JSON output of a `ctr` command; the test fails if the command does."""
    command = [sys.executable, "-c", "from include.cli.app import app; app()", *arguments, "--json"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def run_of(airflow: AirflowClient, day: date) -> str:
    """Id of the run of a log day."""
    return next(run["dag_run_id"] for run in airflow.runs() if run["data_interval_start"].startswith(str(day)))


def clear_from(airflow: AirflowClient, day: date, task: str) -> str:
    """Clear a task of a day's run and all after it; return the path of the run."""
    run = run_of(airflow, day)
    tasks = {"dag_run_id": run, "task_ids": [task], "include_downstream": True}
    airflow.call("POST", f"/dags/{DAG_ID}/clearTaskInstances", json={**tasks, "dry_run": False, "only_failed": False})
    return f"/dags/{DAG_ID}/dagRuns/{run}"


def answer(airflow: AirflowClient, run: str, choice: str) -> Any:
    """Answer the run's `ask_a_person`, wait for the end of the run, and return the question.

    Airflow asks again if the answer comes before the asking process has ended: it is answered again.
    """
    details = f"{run}/taskInstances/ask_a_person/-1/hitlDetails"
    question = None
    for _ in range(180):
        states = {
            task["task_id"]: task["state"] for task in airflow.call("GET", f"{run}/taskInstances")["task_instances"]
        }
        if states["ask_a_person"] == "awaiting_input":
            question = airflow.call("GET", details)
            if not question["response_received"]:
                time.sleep(2)
                airflow.call("PATCH", details, json={"chosen_options": [choice], "params_input": {}})
        if question and states["report"] == "success" and airflow.call("GET", run)["state"] == "success":
            return question
        time.sleep(1)
    pytest.fail(f"The run has not ended: {states}")


def trigger(airflow: AirflowClient, dag: str, conf: dict[str, Any]) -> str:
    """Start a run by hand, wait for its end, and return its state."""
    path = f"/dags/{dag}/dagRuns"
    run = airflow.call("POST", path, json={"logical_date": None, "conf": conf})["dag_run_id"]
    for _ in range(180):
        state = airflow.call("GET", f"{path}/{run}")["state"]
        if state in ("success", "failed"):
            return str(state)
        time.sleep(1)
    pytest.fail(f"The run of {dag} has not ended: {state}")


@contextmanager
def tasks_killed() -> Iterator[None]:
    """Kill every process of a task (a child of the scheduler's workers) as soon as it starts, inside the block."""
    done = threading.Event()

    def kill() -> None:
        (scheduler,) = [child for child in psutil.Process().children() if "scheduler" in " ".join(child.cmdline())]
        while not done.wait(0.1):
            for worker in scheduler.children():
                with suppress(psutil.NoSuchProcess):
                    for task in worker.children():
                        task.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
