"""The production stack as the tests see it: what they ask of it, and how they break it."""

import json
import os
import re
import signal
import subprocess
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import wait_for

from include.airflow_control.airflow_client import AirflowClient
from include.errors import CtrError
from include.setting_groups import PROJECT

FIRST = date(2023, 7, 10)
_PAUSE = 3.0  # each look logs in
HISTORY = 2
DAYS = 9

RECOUNT = """
import csv, gzip, io, json, sys
from datetime import date
from pyarrow import orc
from include.lake.lake import get_lake
from include.raw.deliveries import Raw, day_folder
lake, raw, day = get_lake(), Raw(), date.fromisoformat(sys.argv[1])
folder = day_folder(day)
files = {name: raw.fs.cat(raw.full(f"{folder}/{name}")) for name in raw.names(folder)}
texts = [(gzip.decompress(data) if name.endswith(".gz") else data).decode() for name, data in files.items()]
def events(stage, table):
    for name in lake.fs.find(lake.path(lake.manifest(stage, day).table(table).path)):
        if name.endswith(".orc"):
            yield from orc.ORCFile(io.BytesIO(lake.fs.cat(name))).read(["event_id"])["event_id"].to_pylist()
logs, training = list(events("logs", "logs")), list(events("training", "training"))
delivered = sum(1 for text in texts for _ in csv.reader(io.StringIO(text))) - len(texts)
rejected = lake.orc_rows(lake.manifest("logs", day).table("quarantine").path)
print(json.dumps({"delivered": delivered, "kept": len(logs) + rejected, "logs": len(logs), "log events": len(set(logs)),
    "training rows": len(training), "training events": len(set(training))}))
"""
_RAW_FOLDER = (
    "import sys; from include.raw.deliveries import Raw, day_folder; raw = Raw(); folder = day_folder(sys.argv[1])"
)
_DAMAGE = (
    "raw.fs.mv(raw.full(folder), raw.full(f'_aside-{folder}')); raw.fs.makedirs(raw.full(folder)); "
    "raw.fs.pipe(raw.full(f'{folder}/part-0.csv'), b'some,other,columns\\n1,2,3\\n'); "
    "raw.fs.pipe(raw.full(f'{folder}/_SUCCESS'), b'')"
)
_MEND = "raw.fs.rm(raw.full(folder), recursive=True); raw.fs.mv(raw.full(f'_aside-{folder}'), raw.full(folder))"


class Stack:
    """The running stack."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = {**os.environ, **environment}
        self.url = f"http://localhost:{environment['AIRFLOW_PORT']}"
        self.nights: list[date] = []
        """The log days of the nights that were begun."""

    @property
    def project(self) -> str:
        return self.environment.get("COMPOSE_PROJECT_NAME", "ctr")

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

    def services(self) -> dict[str, str]:
        """Container of each service that runs."""
        listed = self.compose("ps", "--format", "json").splitlines()
        return {container["Service"]: container["ID"] for container in map(json.loads, listed)}

    def docker(self, *arguments: str) -> str:
        return subprocess.run(
            ["docker", *arguments], env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def main_process(self, service: str) -> int:
        """The container's first process, as the host knows it; 0 while it is started anew."""
        container = self.compose("ps", "--all", "--quiet", service).strip()
        pid = int(self.docker("inspect", "--format", "{{.State.Pid}}", container))
        if pid and not Path(f"/proc/{pid}").exists():
            pytest.skip("the engine runs elsewhere: its processes cannot be killed from here")
        return pid

    def crash(self, *services: str) -> None:
        """Kills the containers' first processes, as a fault would; Docker takes `docker kill` for a wish and restarts nothing."""
        for pid in [self.main_process(service) for service in services]:
            if pid:  # not while Docker starts it anew: 0 would be this process and its group
                os.kill(pid, signal.SIGKILL)

    def away(self, seconds: int, *services: str) -> None:
        """Stops the services for a while."""
        self.compose("stop", *services)
        time.sleep(seconds)
        self.compose("start", *services)

    def restart_engine(self) -> None:
        """Restarts the engine that the tests started, as an update of Docker does."""
        folder = str(Path(self.environment["DOCKER_CONFIG"]).parent)
        for verb in ("stop", "start"):
            self.run("tests/compose/engine.sh", verb, folder)

    def wait_until_healthy(self, seconds: int = 300) -> None:
        def healthy() -> bool:
            states = [json.loads(line) for line in self.compose("ps", "--format", "json").splitlines()]
            return all(state["Health"] == "healthy" for state in states)

        wait_for(healthy, seconds, "not all services are healthy", _PAUSE)

    def volumes(self) -> list[str]:
        listed = ["docker", "volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"]
        return subprocess.run(listed, env=self.environment, check=True, capture_output=True, text=True).stdout.split()

    def airflow(self) -> AirflowClient:
        client = AirflowClient(self.url, (PROJECT / "secrets/airflow_admin_password").read_text())
        client.login()
        return client

    def next_day(self) -> date:
        """The log day after those that are loaded."""
        self.nights.append(FIRST + timedelta(days=HISTORY + len(self.nights)))
        return self.nights[-1]

    def begin(self) -> date:
        """Begins the night of the next day, which it returns."""
        day = self.next_day()
        airflow = self.airflow()
        airflow.wait_for_dag()
        airflow.backfill(day, day, {"promote": "yes"})
        airflow.unpause()
        return day

    def backfill(self, day: date) -> None:
        """Runs the day by `ctr backfill`, as a person does."""
        days = ("--from", str(day), "--to", str(day))
        self.compose("--profile", "demo", "run", "--rm", "demo", "ctr", "backfill", *days, "--promote", "yes")

    def damage(self, day: date) -> None:
        """Puts a file without the columns in the place of the day's log."""
        self.compose("exec", "-T", "worker", "python", "-c", f"{_RAW_FOLDER}; {_DAMAGE}", str(day))

    def mend(self, day: date) -> None:
        """Puts back what `damage` took away."""
        self.compose("exec", "-T", "worker", "python", "-c", f"{_RAW_FOLDER}; {_MEND}", str(day))

    def notices(self, day: date) -> list[str]:
        """The task of each notice of a failure on the day: every channel gets what these logs have."""
        found = ["sh", "-c", f"grep -rhoE 'ctr_daily, {day}: [a-z_]+ failed' /var/log/airflow || true"]
        lines = "".join(
            self.compose("exec", "-T", service, *found) for service in ("worker", "trainer", "dag-processor")
        )
        lines += self.compose("logs", "--no-log-prefix", "dag-processor")
        return re.findall(rf"ctr_daily, {day}: ([a-z_]+) failed", lines)

    def recount(self, day: date) -> dict[str, int]:
        """Counts the day's rows as they were delivered and in its tables, from the files."""
        return dict(json.loads(self.compose("exec", "-T", "worker", "python", "-c", RECOUNT, str(day))))

    def state(self, day: date) -> str:
        try:
            runs = [run for run in self.airflow().runs() if str(run["data_interval_start"]).startswith(str(day))]
        except (httpx.HTTPError, CtrError):
            return "away"  # while a part of it restarts
        return runs[0]["state"] if runs else "none"

    def tasks(self, day: date) -> dict[str, dict[str, Any]]:
        """The tasks of the day's run, by name."""
        airflow = self.airflow()
        (run,) = [run for run in airflow.runs() if str(run["data_interval_start"]).startswith(str(day))]
        return {task["task_id"]: task for task in airflow.tasks(run["dag_run_id"])}

    def wait_for_task(self, day: date, task: str, seconds: int = 900) -> None:
        """Waits until a task of the day's run is at work."""

        def state() -> str | None:
            try:
                return str(self.tasks(day)[task]["state"])
            except (httpx.HTTPError, CtrError, KeyError, ValueError):
                return None  # while a part of the stack restarts

        wait_for(lambda: state() == "running", seconds, f"{task} of {day} does not run", _PAUSE)

    def end(self, day: date, seconds: int = 1800) -> dict[str, dict[str, Any]]:
        """Waits for the end of the day's run, which is green; returns its tasks."""
        wait_for(lambda: self.state(day) in ("success", "failed"), seconds, f"the end of {day}", _PAUSE)
        tasks = self.tasks(day)
        assert self.state(day) == "success", {name: task["state"] for name, task in tasks.items()}
        return tasks
