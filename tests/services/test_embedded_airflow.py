"""The Airflow that `ctr ui` runs on this machine: many callers at once, killed processes, a second command on its home."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event

import httpx
import psutil
import pytest
from environment import environment
from waiting import wait_for

from include.airflow_control import airflow_client, airflow_environment, airflow_local
from include.airflow_control.airflow_client import DAG_ID, AirflowClient
from include.errors import CtrError
from include.setting_groups import PROJECT

pytestmark = [pytest.mark.services, pytest.mark.long, pytest.mark.file_order, pytest.mark.timeout(600)]

CTR = [sys.executable, "-c", "from include.cli.app import app; app()"]
DAY = date(2023, 7, 10)


class Ui:
    """`ctr ui` in a process of its own, and what it says."""

    def __init__(self, home: Path) -> None:
        self._log = home / "ui.log"
        with self._log.open("ab") as log:
            command = [*CTR, "ui", "--port", str(airflow_environment.free_port())]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=PROJECT)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def started(self, name: str) -> list[psutil.Process]:
        """The processes that it runs of one of Airflow's components."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if name in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def answers(self, url: str) -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(url, trust_env=False).is_success
        return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="module")
def ui(tmp_path_factory) -> Iterator[Ui]:
    home = tmp_path_factory.mktemp("home")
    waits = {"CTR_RAW_WAIT_SECONDS": "7200"}  # of logs that never come
    with environment({"CTR_HOME": str(home), "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "false", **waits}):
        started = Ui(home)
        yield started
        started.stop()


@pytest.fixture(scope="module")
def airflow(ui) -> AirflowClient:
    wait_for(lambda: airflow_local.instance() is not None, 30, "`ctr ui` took no lock")
    return airflow_local.connect()


class Callers:
    """Clients with the login of `admin` that count every answer, and call again only when told to."""

    def __init__(self, airflow: AirflowClient) -> None:
        login = {"username": "admin", "password": airflow_environment.password()}
        token = httpx.post(f"{airflow.url}/auth/token", json=login, trust_env=False).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=f"{airflow.url}/api/v2", headers=headers, timeout=60, trust_env=False)
        self.answers: Counter[tuple[str, int]] = Counter()

    def call(self, method: str, path: str, **kwargs) -> httpx.Response:
        answer = self._http.request(method, path, **kwargs)
        self.answers[method, answer.status_code] += 1
        return answer

    def poll(self, ended: Event) -> None:
        while not ended.is_set():
            self.call("GET", "/dags")
            for run in self.call("GET", f"/dags/{DAG_ID}/dagRuns", params={"limit": 3}).json()["dag_runs"]:
                self.call("GET", f"/dags/{DAG_ID}/dagRuns/{run['dag_run_id']}/taskInstances")

    def backfill(self, first: date) -> httpx.Response:
        days = {"from_date": f"{first}T00:00:00Z", "to_date": f"{first + timedelta(days=1)}T00:00:00Z"}
        return self.call("POST", "/backfills", json={"dag_id": DAG_ID, **days, "reprocess_behavior": "completed"})


@contextmanager
def polled(callers: Callers, clients: int) -> Iterator[None]:
    ended = Event()
    with ThreadPoolExecutor(clients) as pool:
        polling = [pool.submit(callers.poll, ended) for _ in range(clients)]
        try:
            yield
        finally:
            ended.set()
    for request in polling:
        request.result()


def test_the_address_and_the_login_are_told_at_once(ui):
    wait_for(lambda: "password in" in ui.said, 20, "nothing was said")
    assert f"{airflow_local.instance().url}, user admin, password in {airflow_environment.password_file()}" in ui.said
    assert "Ctrl-C" not in ui.said


def test_backfills_and_polls_at_once_are_all_answered(ui, airflow):
    """Twenty requests, every four at the same time: one of them is taken, the others are refused while it is open."""
    before = {process.pid for name in ("scheduler", "postgres") for process in ui.started(name)}
    callers = Callers(airflow)
    with polled(callers, 3), ThreadPoolExecutor(4) as pool:
        for n in range(5):
            answers = list(pool.map(callers.backfill, [DAY + timedelta(days=2 * n)] * 4))
            assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409], answers
            taken = next(answer.json()["id"] for answer in answers if answer.status_code == 200)
            runs = [run for run in airflow.runs() if run["run_type"] == "backfill"]
            assert len(runs) == 2 * (n + 1)
            airflow.call("PUT", f"/backfills/{taken}/cancel")
    assert {status for _, status in callers.answers} == {200, 409}, callers.answers
    assert callers.answers["GET", 200] > 50
    assert {process.pid for name in ("scheduler", "postgres") for process in ui.started(name)} == before


def test_airflow_and_its_database_listen_on_loopback_only(ui, airflow):
    own = airflow_local.instance()
    listening = {
        connection.laddr for connection in psutil.net_connections("inet") if connection.status == psutil.CONN_LISTEN
    }
    assert {address.ip for address in listening if address.port in (own.port, own.database_port)} == {"127.0.0.1"}
    for child in psutil.Process(ui.process.pid).children(recursive=True):
        with suppress(psutil.Error):  # PostgreSQL may be another user's
            listening = {
                connection.laddr
                for connection in child.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
            assert {address.port for address in listening} <= {own.port, own.database_port}


def _replaced(ui: Ui, name: str, kill: Callable[[psutil.Process], None]) -> None:
    (before,) = ui.started(name)
    kill(before)
    most = 0

    def again() -> bool:
        nonlocal most
        now = ui.started(name)
        most = max(most, len(now))
        return len(now) == 1 and now[0].pid != before.pid

    wait_for(again, 30, f"{name} was not started again: {ui.said}")
    assert most == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scheduler", "dag-processor", "api_server", "postgres"])
def test_a_killed_component_is_replaced(ui, airflow, name):
    runs, killed = len(airflow.runs()), datetime.now(UTC)
    _replaced(ui, name, psutil.Process.kill)
    assert "was ended by SIGKILL: restart 1 of at most 5" in ui.said

    def works() -> bool:
        with suppress(httpx.TransportError):
            parts = httpx.get(f"{airflow.url}/api/v2/monitor/health", trust_env=False).json()
            beats = [parts[part][f"latest_{part}_heartbeat"] for part in ("scheduler", "dag_processor")]
            return all(beat and datetime.fromisoformat(beat) > killed for beat in beats)
        return False

    wait_for(works, 120, f"Airflow does not work: {ui.said}")
    assert len(airflow.runs()) == runs


def test_a_second_command_on_the_home_says_who_runs_airflow(ui, airflow):
    done = subprocess.run([*CTR, "ui"], capture_output=True, text=True, cwd=PROJECT, timeout=60)
    assert done.returncode == 0
    said = " ".join(done.stdout.split())
    assert f"Airflow runs already at {airflow.url} (pid {ui.process.pid}, `-c ui --port" in said
    with airflow_local.connected() as same:
        assert same.url == airflow.url


def _looks(airflow: AirflowClient, run: str) -> tuple[str, str]:
    """State of the task that waits for the run's log, and when it has looked last."""
    (task,) = [task for task in airflow.tasks(run) if task["task_id"] == "wait_for_raw"]
    return task["state"], task["start_date"]


@pytest.mark.slow
def test_a_kill_of_ctr_ui_is_told_and_the_next_start_goes_on(ui, airflow, monkeypatch):
    airflow.unpause()
    waiting = airflow.call("POST", f"/dags/{DAG_ID}/dagRuns", json={"logical_date": None, "conf": {"day": str(DAY)}})
    waiting = waiting["dag_run_id"]
    wait_for(lambda: _looks(airflow, waiting)[0] == "up_for_reschedule", 120, "the run does not wait for its log")
    looked, runs = _looks(airflow, waiting), len(airflow.runs())
    left = psutil.Process(ui.process.pid).children(recursive=True)
    monkeypatch.setattr(airflow_client, "_RESTART_SECONDS", 0)
    ended = pytest.raises(CtrError, match=r"has ended with the process that ran it.*Next: repeat the command")
    with ended, airflow_local.connected() as attached:
        ui.process.kill()
        ui.process.wait()
        wait_for(lambda: not ui.answers(attached.url), 30, "the api-server did not end")
        attached.runs()
    assert airflow_local.connect() is None
    with airflow_local.running() as again:
        assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left)
        assert len(again.runs()) == runs
        # The scheduler is there before the api-server answers.
        wait_for(lambda: _looks(again, waiting)[1] > looked[1], 180, "the run does not wait any longer")
        wait_for(lambda: _looks(again, waiting)[0] == "up_for_reschedule", 60, "the look failed")
