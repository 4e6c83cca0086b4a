"""Nights of Airflow with the lake on HDFS and Spark on a standalone cluster."""

from contextlib import suppress
from datetime import timedelta

import psutil
import pytest
from environment import environment
from real_services import FIRST, differing_tables
from waiting import wait_for

from include.airflow_control import airflow_local, demo
from include.airflow_control.airflow_client import DAG_ID
from include.lake.lake import Lake, get_lake
from include.orchestration.spark_submit import submit
from include.records import Decision
from include.registry import registry
from include.stages import STAGES

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(2400)]

DAY = FIRST + timedelta(days=3)
NEXT = DAY + timedelta(days=1)


@pytest.fixture(scope="module")
def local_nights(one_computer, local_days) -> Lake:
    """The tables of both nights as one computer makes them."""
    with environment(one_computer):
        for _ in submit("history", DAY, NEXT):
            pass
        return get_lake()


@pytest.fixture(scope="module")
def first_night(cluster, cluster_days):
    """Three days of history, and a night after them."""
    with cluster.using():
        yield demo.nightly([DAY])[DAY]


def test_a_cluster_night_succeeds_and_promotes_the_first_model(cluster, cluster_days, first_night, local_nights):
    assert (first_night.failures, first_night.state) == ({}, "success")
    assert differing_tables(local_nights, cluster_days, [DAY]) == []
    with cluster.using():
        assert get_lake().record(Decision, DAY).promoted is True
        assert [version.log_day for version in registry.versions()] == [DAY]


def kill(name: str) -> None:
    """Ends a process of the Airflow that this process runs outright; whoever runs it starts it again."""
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if name in " ".join(process.cmdline()):
                process.kill()


def test_a_night_survives_restarts_of_its_services(cluster, cluster_days, first_night, local_nights, hdfs):
    """The namenode, the database and the scheduler restart while it runs."""
    with cluster.using(), airflow_local.running() as airflow:
        lake = get_lake()

        def until(what, seconds=900):
            """Waits for a file or folder of the lake."""
            wait_for(lambda: lake.exists(what), seconds, f"{what} did not come")

        airflow.backfill(NEXT, NEXT, {"promote": "yes"})
        airflow.unpause()
        until(f"_staging/features/dt={NEXT}")  # Spark is at work
        hdfs.kill("namenode")
        hdfs.start()
        until(f"_staging/training/dt={NEXT}")
        kill("bin/postgres")
        until(f"_manifests/training/dt={NEXT}.json")
        kill("airflow scheduler")
        (run,) = [run for run in airflow.runs() if run["data_interval_start"].startswith(str(NEXT))]
        path = f"/dags/{DAG_ID}/dagRuns/{run['dag_run_id']}"
        ended = ("success", "failed")
        wait_for(lambda: airflow.call("GET", path)["state"] in ended, 1200, "the run did not end")
        states = {task["task_id"]: task["state"] for task in airflow.tasks(run["dag_run_id"])}
        assert airflow.call("GET", path)["state"] == "success", states
        assert [version.log_day for version in registry.versions()] == [NEXT, DAY]
        assert {stage for stage in STAGES if lake.staged(stage, NEXT)} == set()
    assert differing_tables(local_nights, cluster_days, [NEXT]) == []
