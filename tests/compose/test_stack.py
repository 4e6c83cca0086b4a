"""The whole stack on a real Docker engine: from nothing to healthy, nights on it, and what happens when its parts fail."""

import functools
import hashlib
import hmac
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from include.airflow_client import AirflowClient
from include.airflow_local import free_port
from include.errors import CtrError
from include.settings import PROJECT

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.file_order, pytest.mark.timeout(3600)]

FIRST = date(2023, 7, 10)
NIGHTS = [FIRST + timedelta(days=n) for n in (2, 3, 4)]
ENGINE = PROJECT / "tests/compose/engine.sh"
WHEELS = os.environ.get("PIP_FIND_LINKS", "")
_SMALL = "CTR_RAW_WAIT_SECONDS=0\nCTR_APPROVAL_SECONDS=60\nCTR_LLM_MAX_TEXTS=40\n"


def wait_for(condition, seconds, what):
    """Polls until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(2)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Environment of the clients of a Docker engine with compose: this machine's, or one started for the tests."""
    if subprocess.run(["docker", "compose", "ps"], cwd=PROJECT, capture_output=True).returncode == 0:
        yield {}
        return
    if os.geteuid() or subprocess.run(["which", "apt-get"], capture_output=True).returncode:
        pytest.skip("no Docker engine with compose 2, and none can be started without root and Debian's packages")
    folder = Path(os.environ.get("CTR_TEST_ENGINE", "") or tmp_path_factory.mktemp("engine"))
    told = subprocess.run([str(ENGINE), "start", str(folder)], stdout=subprocess.PIPE, text=True, check=True).stdout
    yield dict(line.split("=", 1) for line in told.split())
    subprocess.run([str(ENGINE), "stop", str(folder)], check=True)


@pytest.fixture(scope="module")
def wheels():
    """Where the trainer's image finds a CPU build of torch: pip's folder of wheels where there is one, on the engine's bridge."""
    if not Path(WHEELS).is_dir():
        yield {}
        return
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=WHEELS)
    with http.server.ThreadingHTTPServer(("172.17.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"TORCH_LINKS": f"http://172.17.0.1:{server.server_port}/"}
        server.shutdown()


class Stack:
    """The running stack."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = {**os.environ, **environment}
        self.url = f"http://localhost:{environment['AIRFLOW_PORT']}"

    def run(self, *command: str) -> None:
        subprocess.run(command, cwd=PROJECT, env=self.environment, check=True)

    def compose(self, *arguments: str) -> str:
        done = subprocess.run(
            ["docker", "compose", *arguments], cwd=PROJECT, env=self.environment, stdout=subprocess.PIPE, text=True
        )
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}"
        return done.stdout

    def ctr(self, *arguments: str) -> str:
        return self.compose("exec", "-T", "worker", "ctr", *arguments)

    def models(self) -> list[dict[str, Any]]:
        versions: list[dict[str, Any]] = json.loads(self.ctr("models", "--json"))
        return versions

    def champion_of(self) -> str:
        """The log day of the champion."""
        (day,) = [model["log_day"] for model in self.models() if "champion" in (model["alias"] or "")]
        return str(day)

    def volumes(self) -> list[str]:
        listed = ["docker", "volume", "ls", "--quiet", "--filter", "label=com.docker.compose.project=ctr"]
        return subprocess.run(listed, env=self.environment, check=True, capture_output=True, text=True).stdout.split()

    def lake_has(self, path: str) -> bool:
        listed = ["docker", "compose", "exec", "-T", "namenode", "hdfs", "dfs", "-test", "-e", f"/ctr/lake/{path}"]
        return subprocess.run(listed, cwd=PROJECT, env=self.environment, capture_output=True).returncode == 0

    def airflow(self) -> AirflowClient:
        client = AirflowClient(self.url, (PROJECT / "secrets/airflow_admin_password").read_text())
        client.login()
        return client

    def begin(self, day: date) -> None:
        airflow = self.airflow()
        airflow.wait_for_dag()
        airflow.backfill(day, day, {"promote": "yes"})
        airflow.unpause()

    def state(self, day: date) -> str:
        try:
            runs = [run for run in self.airflow().runs() if str(run["data_interval_start"]).startswith(str(day))]
        except (httpx.HTTPError, CtrError):
            return "away"  # while a part of it restarts
        return runs[0]["state"] if runs else "none"

    def end(self, day: date, seconds: int = 1500) -> None:
        wait_for(lambda: self.state(day) in ("success", "failed"), seconds, f"the end of {day}")
        airflow = self.airflow()
        (run,) = [run for run in airflow.runs() if str(run["data_interval_start"]).startswith(str(day))]
        tasks = {task["task_id"]: task["state"] for task in airflow.tasks(run["dag_run_id"])}
        assert run["state"] == "success", tasks


@pytest.fixture(scope="module")
def stack(engine, wheels):
    """`make up` from nothing, and three days of logs, two of them loaded as history."""
    ports = {"AIRFLOW_PORT": str(free_port()), "MLFLOW_PORT": str(free_port())}
    stack = Stack({**engine, **wheels, **ports})
    assert not stack.compose("ps", "--all", "--quiet"), "the stack runs here already: these tests would change its data"
    stack.run("make", "up")
    stack.compose("exec", "-T", "worker", "sh", "-c", f"printf '{_SMALL}' > /var/lib/ctr/settings.env")
    stack.ctr("sample", "--from", str(FIRST), "--days", "5", "--rows-per-day", "2000")
    stack.ctr("history", "--from", str(FIRST), "--to", str(NIGHTS[0] - timedelta(days=1)))
    yield stack
    stack.compose("--profile", "demo", "down", "--volumes")


def test_a_night_runs_green_through_hdfs_spark_and_celery(stack):
    stack.begin(NIGHTS[0])
    stack.end(NIGHTS[0])
    assert (len(stack.models()), stack.champion_of()) == (1, str(NIGHTS[0]))


def test_nobody_gets_in_without_a_login(stack):
    mlflow = f"http://localhost:{stack.environment['MLFLOW_PORT']}"
    for url in (
        f"{stack.url}/ctr/quality",
        f"{stack.url}/ctr/api/days",
        f"{stack.url}/api/v2/dags",
        f"{mlflow}/",
        f"{mlflow}/api/2.0/mlflow/experiments/search",
    ):
        assert httpx.get(url).status_code == httpx.codes.UNAUTHORIZED, url
    airflow = stack.airflow()
    for page in ("quality", "models", "days"):
        answer = httpx.get(
            f"{stack.url}/ctr/{page}", headers={"Authorization": airflow._http.headers["Authorization"]}, timeout=60
        )
        assert answer.status_code == httpx.codes.OK
        assert str(NIGHTS[0]) in answer.text


def test_nobody_signs_a_login_with_a_key_that_workers_have(stack):
    def let_in(secret: str) -> bool:
        key = (PROJECT / "secrets" / secret).read_text().encode()
        remembered = f"1|{hmac.new(key, b'1', hashlib.sha512).hexdigest()}"  # by Flask-Login, of the first user
        with httpx.Client(base_url=stack.url, cookies={"remember_token": remembered}, follow_redirects=True) as client:
            client.get("/auth/", timeout=60)
            return "_token" in client.cookies

    assert let_in("fab_secret_key")
    assert not let_in("airflow_secret_key")


def test_whoever_runs_tasks_has_neither_the_database_nor_the_key_of_tokens(stack):
    for service in ("worker", "trainer"):
        assert set(stack.compose("exec", "-T", service, "ls", "/run/secrets").split()) == {
            "airflow_secret_key",
            "celery_broker_url",
            "mlflow_admin_password",
            "spark_secret",
        }


def test_a_killed_datanode_and_a_killed_spark_worker_do_not_fail_a_night(stack):
    stack.begin(NIGHTS[1])
    wait_for(lambda: stack.lake_has(f"_staging/logs/dt={NIGHTS[1]}"), 600, "the first Spark job at work")
    stack.compose("kill", "datanode-1", "spark-worker-2")
    stack.end(NIGHTS[1])
    stack.compose("up", "--detach", "--wait", "datanode-1", "spark-worker-2")


def test_restarts_of_namenode_database_broker_and_scheduler_delay_a_night_and_lose_nothing(stack):
    stack.begin(NIGHTS[2])
    wait_for(lambda: stack.lake_has(f"_staging/logs/dt={NIGHTS[2]}"), 600, "the first Spark job at work")
    for service in ("namenode", "postgres", "redis", "scheduler"):
        stack.compose("kill", service)
        stack.compose("up", "--detach", "--wait", service)
    stack.end(NIGHTS[2])
    assert sorted(model["log_day"] for model in stack.models()) == [str(day) for day in NIGHTS]


def test_a_champion_is_taken_back_from_the_worker(stack):
    *_, before, champion = sorted(
        (model["promoted_at"], model["log_day"]) for model in stack.models() if model["promoted_at"]
    )
    assert stack.champion_of() == champion[1]
    stack.ctr("rollback", "--reason", "test of the stack")
    assert stack.champion_of() == before[1]


def test_what_was_lost_comes_back_from_a_backup(stack, tmp_path):
    told = [stack.ctr("models", "--json"), stack.ctr("status", "--json")]
    kept = set(PROJECT.glob("secrets*"))
    stack.run("tools/backup.sh", "save", str(tmp_path))
    stack.compose("down", "--volumes")
    whole = (tmp_path / "namenode.tar").read_bytes()
    (tmp_path / "namenode.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(subprocess.CalledProcessError):
        stack.run("tools/backup.sh", "restore", str(tmp_path))
    assert not stack.volumes(), "a backup that cannot be read must change nothing"
    (tmp_path / "namenode.tar").write_bytes(whole)
    stack.run("tools/backup.sh", "restore", str(tmp_path))
    stack.run("make", "up")
    assert [stack.ctr("models", "--json"), stack.ctr("status", "--json")] == told
    assert [stack.state(day) for day in NIGHTS] == ["success"] * len(NIGHTS)
    for folder in set(PROJECT.glob("secrets*")) - kept:
        shutil.rmtree(folder)
