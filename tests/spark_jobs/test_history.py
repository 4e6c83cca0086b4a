"""The order in which a history is loaded, without Spark; and a job killed in the middle, with it."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import psutil
import pytest
from small_days import DAY, contents, csv_text, raw_row, run_stage, write_raw

from include.errors import CtrError
from include.lake.lake import Lake
from include.orchestration.spark_submit import PUBLISH, driver_java_options, submit
from include.setting_groups import PROJECT
from include.settings import get_settings
from include.stages import STAGES
from spark_jobs.history import main, needs, run

DAYS = [date(2023, 7, 10) + timedelta(days=n) for n in range(4)]


def test_every_step_comes_after_what_it_needs():
    began = []
    ended = []
    lock = threading.Lock()

    def work(stage, day):
        with lock:
            assert all(step in ended for step in needs(stage, day) if step[1] >= DAYS[0])
            began.append((stage, day))
        with lock:
            ended.append((stage, day))

    run(DAYS, work)
    assert sorted(began) == sorted((stage, day) for day in DAYS for stage in ("logs", "features", "training"))


def test_a_failure_stops_at_its_day_and_finishes_the_days_before():
    ended = []

    def work(stage, day):
        if (stage, day) == ("logs", DAYS[2]):
            raise ValueError("bad day")
        ended.append((stage, day))

    with pytest.raises(ValueError, match="bad day"):
        run(DAYS, work, workers=1)
    assert sorted(ended) == sorted((stage, day) for day in DAYS[:2] for stage in ("logs", "features", "training"))


@pytest.mark.spark
def test_a_killed_job_keeps_the_published_day_and_can_be_rerun(spark, lake: Lake):
    write_raw(csv_text([raw_row(n) for n in range(300)]))
    run_stage(spark, lake, "logs")
    manifest, rows = lake.manifest("logs", DAY), contents(lake, "logs")
    staging = Path(lake.path(lake.staging("logs", DAY, "any"))).parent
    command = [
        str(Path(sys.executable).parent / "spark-submit"),
        *("--master", "local[1]", "--conf", "spark.log.level=ERROR"),
        *("--driver-java-options", driver_java_options("ingest", raw=0, master="local[1]")),
    ]
    job = subprocess.Popen(
        [*command, str(PROJECT / "spark_jobs/ingest.py"), "--from", str(DAY), "--to", str(DAY), "--publish"],
        env={
            **os.environ,
            "CTR_HOME": str(get_settings().home),
            "SPARK_LOCAL_DIRS": str(get_settings().home),  # what a killed job leaves
            "PYTHONPATH": str(PROJECT),
            "PYSPARK_PYTHON": sys.executable,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 120
        while not list(staging.glob("*/logs")) and job.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        assert list(staging.glob("*/logs"))
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    assert (lake.manifest("logs", DAY), contents(lake, "logs")) == (manifest, rows)
    assert lake.staged("logs", DAY) is None
    run_stage(spark, lake, "logs")
    assert contents(lake, "logs") == rows


@pytest.mark.spark
def test_a_second_history_makes_only_what_is_missing_or_stale(spark, lake: Lake, capsys):
    write_raw(csv_text([raw_row(n) for n in range(300)]))

    def builds() -> list[str]:
        return [manifest.build for stage in STAGES if (manifest := lake.manifest(stage, DAY))]

    main(DAY, DAY)
    first = builds()
    assert len(first) == 3
    lake.fs.rm(lake.path(f"_manifests/training/dt={DAY}.json"))
    main(DAY, DAY)
    assert (builds()[:2], builds()[2] != first[2]) == (first[:2], True)
    assert capsys.readouterr().out.count('"current"') == 2
    main(DAY, DAY, again=True)
    assert set(builds()).isdisjoint(first)


@pytest.mark.usefixtures("lake")
def test_a_local_driver_listens_on_loopback_only():
    write_raw(csv_text([raw_row(n) for n in range(300)]))
    listening = set()
    for _ in submit("ingest", DAY, DAY, options=PUBLISH):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "ingest.py" in " ".join(child.cmdline()):
                    listening |= {
                        each.laddr.ip for each in child.net_connections() if each.status == psutil.CONN_LISTEN
                    }
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


@pytest.mark.usefixtures("lake")
def test_the_error_for_a_failed_job_includes_what_the_job_said():
    with pytest.raises(CtrError, match=r"'history' of 2023-07-10.*ended with status 2(?s:.*)No such option: --bogus"):
        list(submit("history", DAY, DAY, options=["--bogus"]))
