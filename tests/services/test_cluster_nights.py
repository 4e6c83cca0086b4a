"""Nights of Airflow on PostgreSQL, with the lake on HDFS and Spark on a standalone cluster."""

import subprocess
import sys
from contextlib import suppress
from datetime import timedelta

import psutil
import pytest
from environment import environment
from real_services import FIRST, differing_tables, wait_for

from include import airflow_local, demo, registry
from include.airflow_client import DAG_ID
from include.lake import Lake, lake
from include.schemas import STAGES
from include.settings import PROJECT
from include.spark_submit import submit

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(2400)]

DAY = FIRST + timedelta(days=3)
NEXT = DAY + timedelta(days=1)


@pytest.fixture(scope="module")
def local_nights(one_computer, local_days) -> Lake:
    """The tables of both nights as one computer makes them."""
    with environment(one_computer):
        for _ in submit("history", DAY, NEXT):
            pass
        return lake()


@pytest.fixture(scope="module")
def first_night(cluster, cluster_days, postgres):
    """Three days of history, and a night after them."""
    with cluster.using(CTR_AIRFLOW_DATABASE=postgres.url):
        yield demo.nightly([DAY])[DAY]


def test_a_night_on_the_cluster_is_green_and_promotes_the_first_model(cluster, cluster_days, first_night, local_nights):
    assert (first_night.failures, first_night.state) == ({}, "success")
    assert differing_tables(local_nights, cluster_days, [DAY]) == []
    with cluster.using():
        assert lake().record("decision", DAY)["promoted"] is True
        assert [version.log_day for version in registry.versions()] == [DAY]


class Scheduler:
    """The scheduler of a running Airflow, started again where it has ended, as systemd or Kubernetes do."""

    def __init__(self, airflow) -> None:
        self._port, self._own = int(airflow.url.rsplit(":", 1)[1]), []

    def _alive(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.Process().children()
            if process.status() != psutil.STATUS_ZOMBIE and process.cmdline()[2:4] == ["airflow", "scheduler"]
        ]

    def kill(self) -> None:
        """Ends it outright, and the tasks that it runs."""
        for process in self._alive():
            for each in [*process.children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            process.wait(30)

    def keep(self) -> bool:
        """Starts it where it does not run."""
        if not self._alive():
            command = [sys.executable, "-m", "airflow", "scheduler", "--skip-serve-logs"]
            with (airflow_local.airflow_home() / "logs/scheduler.log").open("ab") as log:
                env = airflow_local.environment(self._port)
                self._own.append(subprocess.Popen(command, env=env, cwd=PROJECT, stdout=log, stderr=log))
        return True


@pytest.fixture
def scheduler_of():
    kept = []

    def of(airflow):
        kept.append(Scheduler(airflow))
        return kept[-1]

    yield of
    for scheduler in kept:
        scheduler.kill()


def test_a_night_goes_on_after_restarts_of_the_namenode_the_database_and_the_scheduler(
    cluster, cluster_days, first_night, local_nights, hdfs, postgres, scheduler_of
):
    with cluster.using(CTR_AIRFLOW_DATABASE=postgres.url), airflow_local.running() as airflow:
        store, scheduler = lake(), scheduler_of(airflow)

        def until(what, seconds=900):
            """Waits for a file or folder of the lake."""
            wait_for(lambda: scheduler.keep() and store.exists(what), seconds, f"{what} did not come")

        airflow.backfill(NEXT, NEXT, {"promote": "yes"})
        airflow.unpause()
        until(f"_staging/features/dt={NEXT}")  # Spark is at work
        hdfs.kill("namenode")
        hdfs.start()
        until(f"_staging/training/dt={NEXT}")
        postgres.stop("immediate")
        postgres.start()
        until(f"_manifests/training/dt={NEXT}.json")
        scheduler.kill()
        (run,) = [run for run in airflow.runs() if run["data_interval_start"].startswith(str(NEXT))]
        path = f"/dags/{DAG_ID}/dagRuns/{run['dag_run_id']}"
        ended = ("success", "failed")
        wait_for(lambda: scheduler.keep() and airflow.call("GET", path)["state"] in ended, 1200, "the run did not end")
        states = {task["task_id"]: task["state"] for task in airflow.tasks(run["dag_run_id"])}
        assert airflow.call("GET", path)["state"] == "success", states
        assert [version.log_day for version in registry.versions()] == [NEXT, DAY]
        assert {stage for stage in STAGES if store.staged(stage, NEXT)} == set()
    assert differing_tables(local_nights, cluster_days, [NEXT]) == []
