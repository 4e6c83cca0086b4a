"""The whole stack on a real Docker engine: from nothing to healthy, nights on it, and what happens when its parts fail."""

import random
import shutil
import subprocess
import time

import psutil
import pytest
from waiting import wait_for

from include.setting_groups import PROJECT

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.file_order, pytest.mark.timeout(3600)]


def tries(tasks, *names):
    return {name: tasks[name]["try_number"] for name in names or tasks if tasks[name]["try_number"] > 1}


def test_a_night_runs_green_through_hdfs_spark_and_celery(stack, first_night):
    assert tries(first_night) == {}
    assert (len(stack.models()), stack.champion_of()) == (1, str(stack.nights[0]))


def test_a_night_survives_two_minute_control_plane_outages(stack):
    """Each part of the control plane is away in turn, and no task uses up a try."""
    day = stack.begin()
    for task, service in (("ingest_logs", "api-server"), ("build_features", "postgres"), ("train", "redis")):
        stack.wait_for_task(day, task)
        stack.away(120, service)
    tasks = stack.end(day)
    assert tries(tasks) == {}
    stack.wait_until_healthy()


def test_killed_services_restart_and_the_night_still_succeeds(stack):
    day = stack.begin()
    stack.wait_for_task(day, "ingest_logs")
    stack.crash("datanode-1", "spark-worker-2", "scheduler", "proxy")
    stack.wait_for_task(day, "build_features")
    stack.crash("worker", "dag-processor")
    stack.wait_for_task(day, "train")
    stack.crash("namenode", "spark-master", "mlflow", "postgres", "redis", "api-server")
    stack.end(day)
    stack.wait_until_healthy()
    assert sorted(model["log_day"] for model in stack.models()) == [str(night) for night in stack.nights]


def test_a_night_survives_a_namenode_outage_and_engine_restart(stack, engine):
    """The namenode is away for two minutes."""
    if not engine:
        pytest.skip("this machine's own engine is not restarted")
    day = stack.begin()
    stack.wait_for_task(day, "ingest_logs")
    stack.away(120, "namenode")
    stack.wait_for_task(day, "build_training_table")
    stack.restart_engine()
    stack.end(day)
    stack.wait_until_healthy(600)  # a Spark worker that its master does not know is started anew after five minutes
    assert stack.notices(day) == []


def test_a_night_outlives_thirty_crashes_of_random_parts(stack):
    """Nothing is lost or doubled, and nobody is called: there is nothing for a person to do."""
    day = stack.begin()
    chance = random.Random(22)
    stack.wait_for_task(day, "ingest_logs")
    for _ in range(30):
        stack.crash(chance.choice(sorted(stack.services())))
        time.sleep(chance.uniform(5, 20))
    stack.end(day)
    stack.wait_until_healthy()
    assert stack.notices(day) == []
    counts = stack.recount(day)
    assert counts["delivered"] == counts["kept"]
    assert counts["logs"] == counts["log events"] == counts["training rows"] == counts["training events"]


def test_a_damaged_day_sends_one_notice_and_backfill_repairs_it(stack):
    day = stack.next_day()
    stack.damage(day)
    with pytest.raises(AssertionError):
        stack.backfill(day)
    assert stack.notices(day) == ["ingest_logs"]
    stack.mend(day)
    stack.backfill(day)
    assert stack.notices(day) == ["ingest_logs"]


def test_a_service_that_hangs_is_started_anew(stack):
    hung = stack.main_process("proxy")
    stack.compose(
        "exec", "-T", "proxy", "bash", "-c", "echo 19 > /tmp/.failures"
    )  # it was not healthy for five minutes
    for process in psutil.Process(hung).children(recursive=True):
        process.suspend()
    wait_for(lambda: stack.main_process("proxy") not in (0, hung), 120, "the proxy was not started anew")
    stack.wait_until_healthy()


def test_a_champion_is_taken_back_from_the_worker(stack):
    *_, before, champion = sorted(
        (model["promoted_at"], model["log_day"]) for model in stack.models() if model["promoted_at"]
    )
    assert stack.champion_of() == champion[1]
    stack.ctr("rollback", "--reason", "test of the stack")
    assert stack.champion_of() == before[1]


def test_a_lost_stack_is_restored_from_a_backup_and_goes_on(stack, tmp_path):
    """It comes back as another Compose project, and a backup that cannot be read changes nothing."""
    before = [stack.ctr("models", "--json"), stack.ctr("status", "--json")]
    existing = {*PROJECT.glob("secrets*"), *PROJECT.glob("settings*")}
    stack.run("tools/backup.sh", "nightly", str(tmp_path), "1")
    (saved,) = tmp_path.iterdir()
    stack.compose("down", "--volumes")
    assert not stack.volumes()
    stack.environment["COMPOSE_PROJECT_NAME"] = "ctr-restored"
    whole = (saved / "namenode.tar.gz").read_bytes()
    (saved / "namenode.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(subprocess.CalledProcessError):
        stack.run("tools/backup.sh", "restore", str(saved))
    assert not stack.volumes(), "a backup that cannot be read must change nothing"
    (saved / "namenode.tar.gz").write_bytes(whole)
    stack.run("tools/backup.sh", "restore", str(saved))
    stack.run("make", "up")
    assert [stack.ctr("models", "--json"), stack.ctr("status", "--json")] == before
    assert {stack.state(day) for day in stack.nights} == {"success"}
    stack.end(stack.begin())
    assert len(stack.models()) == len(stack.nights)
    for folder in {*PROJECT.glob("secrets*"), *PROJECT.glob("settings*")} - existing:
        shutil.rmtree(folder)
