"""What `ctr status`, `ctr quality` and `ctr quarantine` tell of a day, without Spark."""

import json
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest
from pyarrow import orc
from sample_records import decision, quality, train
from typer.testing import CliRunner

from include.airflow_control import airflow_local
from include.airflow_control.airflow_client import AirflowClient
from include.airflow_control.demo import result
from include.checks import check_result
from include.cli.app import cli
from include.days.backfill_plan import stale_inputs
from include.days.day_status import day_status, known_days
from include.errors import MissingDataError
from include.lake.lake import Lake, get_lake
from include.lake.manifest import Manifest, TableVersion
from include.raw.file_check import raw_digest
from include.settings import get_settings

DAY = date(2023, 7, 10)
REJECTED = [
    {
        "source_file": "f",
        "source_row": 1,
        "raw": json.dumps({"user_id": "ann", "scene": "9"}),
        "reasons": ["unknown_scene"],
    },
    {"source_file": "f", "source_row": 2, "raw": "ann,i1,too few", "reasons": ["malformed_record"]},
]


@pytest.fixture
def lake(tmp_path, monkeypatch):
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    raw = tmp_path / "raw" / f"date={DAY}"
    raw.mkdir(parents=True)
    (raw / "part-0.csv").write_text("one")
    yield get_lake()
    get_settings.cache_clear()


def stage_logs(lake: Lake, build: str, *, status: str = "pass") -> None:
    folder = Path(lake.path(lake.begin_staging("logs", DAY, build)))
    for table in ("logs", "quarantine"):
        (folder / table).mkdir()
    orc.write_table(pa.Table.from_pylist(REJECTED), str(folder / "quarantine" / "part.orc"))
    tables = {name: TableVersion(f"{name}/dt={DAY}/build={build}", 2, 9, "") for name in ("logs", "quarantine")}
    check = check_result("logs", "a_check", status == "pass", "x", "y", failing_rows=0)
    manifest = Manifest("logs", str(DAY), build, tables, 4, {f"raw/{DAY}": raw_digest(DAY)}, "", "")
    lake.finish_staging(manifest, quality("logs", DAY, check))


def publish_features(lake: Lake, logs_build: str) -> None:
    lake.begin_staging("features", DAY, "f")
    lake.finish_staging(
        Manifest("features", str(DAY), "f", {}, 1, {f"logs/{DAY}": logs_build}, "", ""),
        quality("features", DAY),
    )
    lake.publish("features", DAY)


def test_a_verdict_is_shown_beside_its_own_version(lake):
    lake.write_record(train(DAY, 1))
    lake.write_record(decision(DAY, 1))
    assert (day_status(lake, DAY)["model"], day_status(lake, DAY)["verdict"]) == (1, "promote")
    lake.write_record(train(DAY, 5))
    assert (day_status(lake, DAY)["model"], day_status(lake, DAY)["verdict"]) == (5, None)


def test_the_demo_counts_the_checks_that_status_counts(lake):
    stage_logs(lake, "one")
    model = check_result("model", "expect_no_day_known", False, "none", "one", severity="warning")
    lake.write_record(quality("model", DAY, model))
    assert day_status(lake, DAY)["checks"] == {"pass": 1, "warning": 1, "fail": 0}
    assert result(lake, DAY)["checks_passed"] == "1 of 2"


def test_a_raw_day_alone_is_known(lake):
    assert known_days(lake) == [DAY]
    assert day_status(lake, DAY)["raw_files"] == 1
    assert day_status(lake, DAY)["logs"] is None


def test_a_stage_is_stale_when_what_it_was_made_from_changes(lake):
    stage_logs(lake, "one")
    lake.publish("logs", DAY)
    publish_features(lake, "one")
    assert [stale_inputs(lake, lake.manifest(stage, DAY)) for stage in ("logs", "features")] == [[], []]
    stage_logs(lake, "two")
    lake.publish("logs", DAY)
    assert stale_inputs(lake, lake.manifest("features", DAY)) == [f"logs/{DAY}"]
    (Path(get_settings().home) / "raw" / f"date={DAY}" / "part-0.csv").write_text("another")
    assert stale_inputs(lake, lake.manifest("logs", DAY)) == [f"raw/{DAY}"]


def test_quarantine_counts_reasons_and_masks_users(lake):
    stage_logs(lake, "one", status="fail")
    told = json.loads(CliRunner().invoke(cli, ["quarantine", "--day", str(DAY), "--json"]).stdout)
    assert told["reasons"] == {"unknown_scene": 1, "malformed_record": 1}
    assert "ann" not in json.dumps(told["samples"])
    one = CliRunner().invoke(cli, ["quarantine", "--day", str(DAY), "--reason", "unknown_scene", "--json"])
    assert json.loads(one.stdout)["rows"] == 1


def test_quality_shows_only_what_failed(lake):
    stage_logs(lake, "one", status="fail")
    told = json.loads(CliRunner().invoke(cli, ["quality", "--day", str(DAY), "--failed", "--json"]).stdout)
    assert [(check["name"], check["status"]) for check in told] == [("a_check", "fail")]
    assert "a_check" in CliRunner().invoke(cli, ["quality", "--day", str(DAY)]).stdout


def test_a_check_of_a_whole_table_has_no_failing_rows(lake):
    failed = check_result("logs", "expect_usual_ctr", False, "0.1", "CTR 0.0000 (0 clicks of 7,793 rows)")
    lake.write_record(quality("logs", DAY, failed))
    told = json.loads(CliRunner().invoke(cli, ["quality", "--day", str(DAY), "--json"]).stdout)
    assert told[0]["failing_rows"] is None
    words = " ".join(CliRunner().invoke(cli, ["quality", "--day", str(DAY)]).stdout.split())
    assert "0 clicks of 7,793 rows" in words
    assert "failing rows" in words


def test_quality_of_a_day_that_has_not_run_is_a_clear_error(lake):
    outcome = CliRunner().invoke(cli, ["quality", "--day", "2020-01-01"])
    assert isinstance(outcome.exception, MissingDataError)


def test_days_for_scripts_and_for_people(lake):
    stage_logs(lake, "one")
    lake.publish("logs", DAY)
    (row,) = json.loads(CliRunner().invoke(cli, ["status", "--json"]).stdout)
    assert (row["day"], row["logs"], row["quarantined"]) == (str(DAY), 2, 2)
    assert row["redo"]["features"] == "not published"
    assert CliRunner().invoke(cli, ["status"]).exit_code == 0


@pytest.fixture
def airflow(monkeypatch):
    """An Airflow whose pages tell of a run of the day that is queued behind a cancelled backfill."""
    same = dict.fromkeys(("logical_date", "queued", "start", "end")) | {"run_id": "r", "run_type": "backfill"}
    told = {str(DAY): same | {"page": "/", "state": "queued", "hindrance": "cancelled backfill", "tasks": []}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == f"/ctr/api/runs?first={DAY}&last={DAY}" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        client = AirflowClient(f"http://127.0.0.1:{server.server_port}", "")
        monkeypatch.setattr(airflow_local, "connect", lambda: client)
        yield
        server.shutdown()


@pytest.mark.usefixtures("lake", "airflow")
def test_status_tells_the_state_of_airflows_runs_and_the_way_out():
    (row,) = json.loads(CliRunner().invoke(cli, ["status", "--json"]).stdout)
    assert row["state"]["state"] == "queued behind a cancelled backfill"
    told = CliRunner().invoke(cli, ["status"]).stdout
    assert f"`ctr backfill --from {DAY} --to {DAY}`" in " ".join(told.split())


@pytest.mark.usefixtures("lake")
def test_status_without_airflow_tells_what_the_lake_knows(monkeypatch):
    monkeypatch.setattr(airflow_local, "connect", lambda: None)
    told = CliRunner().invoke(cli, ["status"])
    assert "from the lake alone" in " ".join(told.stderr.split())
    (row,) = json.loads(CliRunner().invoke(cli, ["status", "--json"]).stdout)
    assert (row["state"]["state"], row["state"]["needs_person"]) == ("not run", True)


def test_a_day_of_a_wrong_year_adds_no_days_between(lake):
    """A gap of some days is listed, a century is not."""
    folders = [DAY - timedelta(days=40_000), DAY, DAY + timedelta(days=3)]
    for day in folders:
        (get_settings().home / "raw" / f"date={day}").mkdir(parents=True, exist_ok=True)
    assert known_days(lake) == [folders[0], *(DAY + timedelta(days=number) for number in range(4))]
