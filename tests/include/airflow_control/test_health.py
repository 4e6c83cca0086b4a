"""`ctr health`: what is wrong comes first, a number is a metric, and nothing that is away is a traceback."""

import json
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from model_versions import model_version
from typer.testing import CliRunner

from include.airflow_control import health
from include.airflow_control.health import Limits, facts, metrics
from include.cli.app import cli
from include.lake.lake import Lake
from include.registry import registry
from include.settings import get_settings

NOW = datetime(2023, 7, 19, 8, tzinfo=UTC)
YESTERDAY = date(2023, 7, 18)


@pytest.fixture
def airflow(home, monkeypatch):
    """An Airflow of which only the page of its health is there; gives the parts' states."""
    state = {"scheduler": "healthy", "beat": NOW - timedelta(seconds=4)}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            scheduler = {"status": state["scheduler"], "latest_scheduler_heartbeat": state["beat"].isoformat()}
            body = json.dumps(
                {"metadatabase": {"status": "healthy"}, "scheduler": scheduler, "triggerer": {"status": None}}
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("CTR_AIRFLOW_URL", f"http://127.0.0.1:{server.server_port}")
        get_settings.cache_clear()
        yield state
        server.shutdown()


@pytest.fixture
def nights(home, airflow, monkeypatch):
    """A log, a training table and a champion of yesterday."""
    folder = home / f"raw/date={YESTERDAY}"
    folder.mkdir(parents=True)
    (folder / "part.csv").write_text("x")
    monkeypatch.setattr(Lake, "days", lambda self, stage: [YESTERDAY])
    monkeypatch.setattr(registry, "champion", lambda: model_version(2))


ANY_DISK = Limits(disk=1.0)


def by_metric(now=NOW, limits=ANY_DISK):
    return {fact.metric: fact for fact in facts(now, limits)}


def test_a_pipeline_that_did_its_night_is_healthy(nights):
    found = by_metric()
    assert all(fact.healthy for fact in found.values()), found
    assert {name: found[name].value for name in ("log_lag_days", "table_lag_days", "champion_lag_days")} == {
        "log_lag_days": 0,
        "table_lag_days": 0,
        "champion_lag_days": 0,
    }
    assert found["scheduler_heartbeat_seconds"].value == 4
    assert "ctr_healthy 1" in list(metrics(list(found.values())))


def test_a_lag_beyond_its_limit_is_unhealthy_and_names_the_limit(nights):
    found = by_metric(NOW + timedelta(days=2))
    assert not found["log_lag_days"].healthy
    assert found["log_lag_days"].text == "newest log 2023-07-18, 2 days behind yesterday (at most 1)"
    assert not found["table_lag_days"].healthy
    assert found["champion_lag_days"].healthy
    assert not by_metric(NOW + timedelta(days=8))["champion_lag_days"].healthy


def test_a_scheduler_that_is_not_healthy_is_told(nights, airflow):
    airflow["scheduler"] = "unhealthy"
    found = by_metric()["scheduler_heartbeat_seconds"]
    assert (found.healthy, found.text) == (False, "scheduler's heartbeat 4 s ago; not healthy: scheduler")


def test_an_unreachable_part_is_unhealthy_and_hides_nothing_else(nights, monkeypatch):
    monkeypatch.setenv("CTR_AIRFLOW_URL", "http://127.0.0.1:9")
    get_settings.cache_clear()
    monkeypatch.setattr(health.shutil, "disk_usage", lambda _: (_ for _ in ()).throw(PermissionError(13, "denied")))
    found = by_metric()
    assert not found["scheduler_heartbeat_seconds"].healthy
    assert found["scheduler_heartbeat_seconds"].text.startswith("scheduler: ")
    assert not found["disk_used_ratio"].healthy
    assert found["log_lag_days"].healthy
    assert [line for line in metrics(list(found.values())) if line.startswith("ctr_disk")] == []


def test_a_full_disk_is_not_healthy(nights):
    assert not by_metric(limits=Limits(disk=0.0))["disk_used_ratio"].healthy


def test_the_command_says_what_is_wrong_first_and_ends_with_1(home):
    done = CliRunner().invoke(cli, ["health", "--disk", "1"])
    assert done.exit_code == 1
    assert done.output.startswith(
        "NOT HEALTHY: newest log: none yet; newest training table: none yet; champion: none yet;"
    )
    found = json.loads(CliRunner().invoke(cli, ["health", "--json"]).output)
    assert found["healthy"] is False
    assert len(found["facts"]) == 5
    done = CliRunner().invoke(cli, ["health", "--metrics"])
    assert (done.exit_code, done.output.splitlines()[1]) == (0, "ctr_healthy 0")
