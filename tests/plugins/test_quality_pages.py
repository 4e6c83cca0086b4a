"""The grid, a day's findings and a check's trend are what the quality records say."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest
from airflow.models.taskinstance import TaskInstance
from page_records import check
from pyarrow import orc
from sample_records import quality

from include.checks import Measure
from include.errors import MissingDataError
from include.lake.manifest import Manifest, TableVersion
from include.stages import CHECKED
from plugins.pages.findings import check_of_day, day_quality
from plugins.pages.quality import Filters, grid
from plugins.pages.records import CheckKey, QualityRecords

FIRST = date(2023, 7, 10)


def day(number):
    return FIRST + timedelta(days=number)


def volume(rows, ok=True):
    return check("expect_usual_volume", ok, observed=f"{rows} rows", measure=Measure(rows, 10, 30, "rows"))


@pytest.fixture
def records(lake, write):
    write("logs", day(0), check(), volume(20))
    write("logs", day(1), check(), volume(5, ok=False))
    write("logs", day(2), check(), volume(4, ok=False), check("expect_readable_text", False, severity="warning"))
    write("features", day(1), check("expect_unique_key", table="items", column="item_id"))
    return QualityRecords(lake)


def rows(found):
    return {(stage.stage, row.name): row.statuses for stage in found.stages for row in stage.checks}


def test_the_grid_lists_only_checks_that_did_not_always_pass(records):
    """The newest day and the worst check come first."""
    found = grid(records.history(), Filters())
    assert found.days == [day(2), day(1), day(0)]
    assert rows(found) == {
        ("logs", "expect_usual_volume"): ["fail", "fail", "pass"],
        ("logs", "expect_readable_text"): ["warning", None, None],
    }
    assert list(rows(found)) == [("logs", "expect_usual_volume"), ("logs", "expect_readable_text")]
    logs, features = found.stages
    assert (logs.statuses, logs.passed) == (["fail", "fail", "pass"], 1)
    assert (features.statuses, features.checks, features.passed) == ([None, "pass", None], [], 1)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"every": True}, {"expect_usual_volume", "expect_readable_text", "expect_rows", "expect_unique_key"}),
        ({"status": "warning"}, {"expect_readable_text"}),
        ({"severity": "critical"}, {"expect_usual_volume"}),
        ({"stage": "features", "every": True}, {"expect_unique_key"}),
        ({"table": "items", "every": True}, {"expect_unique_key"}),
        ({"until": day(0), "status": "pass"}, {"expect_usual_volume", "expect_rows"}),
        ({"table": "none"}, set()),
    ],
)
def test_filters(records, filters, names):
    assert {name for _, name in rows(grid(records.history(), Filters(**filters)))} == names


def test_fewer_days_are_shown_and_the_older_ones_offered(records):
    found = grid(records.history(), Filters(days=2))
    assert (found.days, found.older, found.newest) == ([day(2), day(1)], True, day(2))


def test_an_empty_lake_has_an_empty_grid(lake):
    found = grid(QualityRecords(lake).history(), Filters())
    assert (found.days, found.stages, found.newest) == ([], [], None)


def test_a_replaced_record_is_seen_at_once(records, write):
    assert grid(records.history(), Filters()).stages[0].statuses[0] == "fail"
    write("logs", day(2), check(), volume(20))
    assert grid(records.history(), Filters()).stages[0].statuses[0] == "pass"


def test_a_day_lists_failures_before_warnings_and_since_when(lake, records, session):
    found = day_quality(lake, records.history(), session, day(2))
    assert [(finding.name, finding.status, finding.failing_since) for finding in found.findings] == [
        ("expect_usual_volume", "fail", day(1)),
        ("expect_readable_text", "warning", day(2)),
    ]
    assert found.stopped_at == "logs"
    assert found.run is None
    assert [(stage.stage, stage.status) for stage in found.stages][:2] == [("logs", "fail"), ("features", None)]


def test_a_day_names_and_links_to_its_latest_run(lake, records, session, run):
    again = run(day(2))
    run(day(1))
    run(
        day(0),
        hours=1,
        logical_date=None,
        run_id="manual__1",
        run_type="manual",
        conf={"day": str(day(0))},
        data_interval=None,
    )
    found = day_quality(lake, records.history(), session, day(2))
    assert found.run.run_id == again.run_id
    assert found.run.page == f"/dags/ctr_daily/runs/{again.run_id.replace(':', '%3A').replace('+', '%2B')}"


def test_a_manual_run_is_found_by_its_parameter(lake, records, session, run):
    run(day(2), logical_date=None, run_id="manual__1", run_type="manual", conf={"day": str(day(1))}, data_interval=None)
    assert day_quality(lake, records.history(), session, day(1)).run.run_id == "manual__1"
    assert day_quality(lake, records.history(), session, day(2)).run is None


def test_a_refused_backfill_is_a_run_of_the_days_of_its_range(lake, records, session, run):
    refused = run(day(2), conf={"day": str(day(1))})
    assert day_quality(lake, records.history(), session, day(2)).run.run_id == refused.run_id
    assert day_quality(lake, records.history(), session, day(1)).run is None


def test_the_next_steps_lead_to_the_task_to_clear(lake, records, session, run, client):
    dag_run = run(day(2))
    task = {"id": uuid4(), "task_id": "ingest_logs", "dag_id": "ctr_daily", "run_id": dag_run.run_id, "map_index": -1}
    columns = {"pool": "default", "pool_slots": 1, "queue": "default", "executor_config": {}, "state": "success"}
    session.execute(TaskInstance.__table__.insert().values(**task, **columns))
    session.commit()
    page = client.get(f"/quality/day?day={day(2)}").text
    assert re.search(r'the task\s+<a data-airflow href="[^"]*/tasks/ingest_logs[^"]*">ingest_logs</a>', page)


def test_a_day_without_data_says_so(lake, records, session):
    with pytest.raises(MissingDataError, match="There is no data of 2024-01-01"):
        day_quality(lake, records.history(), session, date(2024, 1, 1))


def test_a_check_shows_its_trend_with_its_bounds(lake, records, session):
    key = CheckKey("logs", "logs", "expect_usual_volume", None)
    found = check_of_day(lake, records.history(), session, day(2), key.id)
    assert [(point.day, point.value, point.low, point.high, point.status) for point in found.trend] == [
        (day(0), 20, 10, 30, "pass"),
        (day(1), 5, 10, 30, "fail"),
        (day(2), 4, 10, 30, "fail"),
    ]
    assert (found.unit, found.finding.failing_since) == ("rows", day(1))
    assert len(check_of_day(lake, records.history(), session, day(1), key.id).trend) == 2
    with pytest.raises(MissingDataError, match="did not run on 2023-07-10"):
        check_of_day(lake, records.history(), session, day(0), "0" * 12)


def test_what_a_status_filter_hides_is_not_said_to_have_passed(records):
    logs = grid(records.history(), Filters(status="fail")).stages[0]
    assert ([row.name for row in logs.checks], logs.passed) == (["expect_usual_volume"], 1)


def test_tracing_back_a_chronic_warning_lists_each_folder_once(lake, write, session, monkeypatch):
    for number in range(20):
        write("logs", day(number), check("expect_readable_text", False, severity="warning"))
    looks = []
    listed = lake.record_stamps
    records = QualityRecords(lake)
    monkeypatch.setattr(lake, "record_stamps", lambda kind: looks.append(kind) or listed(kind))
    found = day_quality(lake, records.history(), session, day(19))
    assert found.findings[0].failing_since == day(0)
    assert len(looks) == len(CHECKED)


@pytest.mark.parametrize(
    ("stage", "waiting"),
    [
        ("logs", {day(3): ["features", "training"], day(4): ["features", "training"]}),
        ("features", {day(3): ["features", "training"], day(4): ["features", "training"]}),
        ("training", {}),
        ("model", {}),
    ],
)
def test_later_days_wait_for_what_their_tables_are_made_of(lake, write, session, stage, waiting):
    for number in (0, 4):
        write("logs", day(number), check())
    write(stage, day(2), check(ok=False))
    found = day_quality(lake, QualityRecords(lake).history(), session, day(2))
    assert {blocked.day: blocked.stages for blocked in found.blocked_days} == waiting


def test_a_failed_attempt_beside_a_published_one_says_so(lake, write, session):
    table = TableVersion("p", 20, 1, "s")
    manifest = Manifest("logs", str(day(0)), "b0", {"logs": table}, 20, {}, "c", "s")
    lake.write_json(f"_manifests/logs/dt={day(0)}.json", vars(manifest) | {"tables": {"logs": vars(table)}})
    write("logs", day(0), check(ok=False))
    stages = day_quality(lake, QualityRecords(lake).history(), session, day(0)).stages
    assert stages[0].published == "an earlier attempt is published"


def test_rejected_rows_that_are_gone_leave_the_page_standing(lake, write, session):
    write("logs", day(0), check("expect_quarantine_rate_at_most", False, table="quarantine", failing_rows=3))
    (found,) = day_quality(lake, QualityRecords(lake).history(), session, day(0)).findings
    assert found.sample == []
    assert "are not available" in found.sample_note


def test_the_run_that_began_last_is_shown_whatever_day_it_is_of(lake, records, session, run):
    began = datetime(2023, 8, 1, tzinfo=UTC)
    run(
        day(1),
        run_id="manual__1",
        run_type="manual",
        logical_date=None,
        data_interval=None,
        run_after=began,
        start_date=began,
        conf={"day": str(day(1))},
    )
    later = run(day(1), state="success", start_date=datetime(2023, 9, 1, tzinfo=UTC))
    assert day_quality(lake, records.history(), session, day(1)).run.run_id == later.run_id


def test_the_page_of_rejected_rows_names_values_and_repair(lake, client):
    folder = Path(lake.path(lake.begin_staging("logs", day(0), "b"))) / "quarantine"
    folder.mkdir()
    row = {"source_file": "f", "raw": '{"user_id":"ann","scene":"home_<v2>"}', "reasons": ["unknown_scene"]}
    rows = [row | {"source_row": number, "fingerprint": number} for number in range(1200)]
    orc.write_table(pa.Table.from_pylist(rows), str(folder / "part.orc"))
    tables = {"quarantine": TableVersion("q", 1200, 1, "s")}
    manifest = Manifest("logs", str(day(0)), "b", tables, 1200, {}, "c", "s")
    lake.finish_staging(manifest, quality("logs", day(0)))
    page = client.get(f"/quality/quarantine?day={day(0)}").text
    assert '<code>home_&lt;v2&gt;</code></td><td class="num">1,200</td>' in page
    assert "scenes: {home_&lt;v2&gt;: SCENE}  # one of 0,1,2,3,4" in page
    assert "ann" not in re.sub("masked|channel", "", page)
    refused = client.get(f"/quality/quarantine?day={day(0)}&reason=nope")
    assert refused.status_code == 400
    assert "expected one of malformed_record" in refused.text
