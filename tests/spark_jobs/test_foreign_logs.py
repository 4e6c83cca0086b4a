"""Logs of other forms than the project's own, ingested by a mapping: every cell, and every row that is rejected."""

import bz2
import gzip
import io
import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from small_days import DAY, contents, read, run_stage

from include.days.backfill_plan import stale_inputs
from include.errors import DataQualityError, InvalidInputError
from include.lake.lake import Lake
from include.mapping.mapping import read_mapping
from include.quality.repairs import Repair, repair_day
from include.raw.log_import import import_log
from include.settings import get_settings

pytestmark = pytest.mark.spark

COLUMNS = (
    "columns: {user_id: u, item_id: i, log_time: t, label: c, scene: s, item_title: n, query_entity_seq: q, "
    "deep_features_0: d}"
)
NAMES = "names: [u, i, t, c, s, n, q, d]"


@pytest.fixture
def mapped(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a function that makes a mapping, and files below the raw folder, those of the settings."""

    def use(mapping: str, files: dict[str, bytes]) -> Lake:
        (tmp_path / "map.yaml").write_text(mapping)
        monkeypatch.setenv("CTR_RAW_MAPPING", str(tmp_path / "map.yaml"))
        monkeypatch.setenv("CTR_SCENES", "home,men's")
        get_settings.cache_clear()
        for name, content in files.items():
            path = tmp_path / "raw" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return lake

    return use


def cells(lake: Lake) -> dict[str, list[Any]]:
    """Return what matters of the published rows, by event."""
    logs = read(lake, "logs").sort_values("event_id")
    return {
        row.event_id: [
            row.user_id,
            row.item_id,
            str(row.log_ts),
            row.label,
            row.scene,
            row.item_title,
            [*row.query_entities],
            None if pd.isna(row.deep_features_0) else row.deep_features_0,
        ]
        for row in logs.itertuples()
    }


def reasons(lake: Lake) -> Counter[str]:
    return Counter(reason for reasons in read(lake, "quarantine")["reasons"] for reason in reasons)


def test_a_tsv_without_a_header_from_a_database(spark, mapped):
    """Epochs in milliseconds are cut into the days of the log's zone; `\\N` is null, and backslashes escape."""
    lines = [
        "7\t12\t1688918400000\t1\thome\ttea\\tcup\\\\\ta|b\t1,5",
        "8.0\t012\t1689004799999\t0\tmen's\t\\N\t\\N\t\\N",
        "\\N\t1\t1688918400000\t0\thome\tx\t\t1",
        "9\t1\t1688918399999\t0\thome\tthe day before\t\t1",
        "9\t1\t1688918400000\t0\thome\ttwo\\\nlines\t[a, b]\t-0,25",
    ]
    mapping = f"""
{COLUMNS}
{NAMES}
files: "dt={{yyyyMMdd}}/**"
header: false
delimiter: tab
quote: ""
escape: "\\\\"
decimal: ","
ids: integer
time: {{formats: [epoch_milliseconds], zone: Asia/Shanghai}}
"""
    lake = mapped(mapping, {"dt=20230710/05/000000_0": "\n".join([*lines, ""]).encode()})
    quality = run_stage(spark, lake, "logs")
    event = "dt=20230710/05/000000_0#"
    assert cells(lake) == {
        f"{event}0": ["7", "12", "2023-07-10 00:00:00", 1, "home", "tea\tcup\\", ["a", "b"], 1.5],
        f"{event}1": ["8", "12", "2023-07-10 23:59:59.999000", 0, "men's", None, [], None],
        f"{event}4": ["9", "1", "2023-07-10 00:00:00", 0, "home", "two\nlines", ["a", "b"], -0.25],
    }
    assert reasons(lake) == {"missing_user_id": 1, "late_event": 1}
    manifest = lake.manifest("logs", DAY)
    assert (manifest.rows_in, quality.rows) == (5, 3)
    [file] = manifest.profile["files"]
    assert (file["lines"], file["records"], file["continued"]) == (6, 5, 1)


def test_parquet_with_lists_and_nested_columns(spark, mapped):
    mapping = f"""
{COLUMNS.replace("user_id: u", "user_id: who.id").replace("}", ", bill_entity_seq: b}")}
files: "{{yyyy}}/{{MM}}/{{dd}}/*.parquet"
format: parquet
scenes: {{"3": home}}
"""
    moments = [datetime(2023, 7, 10, 1, 2, 3), None, datetime(2023, 7, 10, 4)]
    table = pa.table(
        {
            "who": [{"id": 1}, {"id": 2}, {"id": 3}],
            "i": ["x", "y", "z"],
            "t": pa.array(moments, pa.timestamp("us")),
            "c": [True, False, False],
            "s": pa.array([3, 3, 4], pa.int8()),
            "n": ["tea", None, "milk"],
            "q": pa.array([["a, b", "c"], None, []], pa.list_(pa.string())),
            "b": ['["k", "l"]', None, None],
            "d": [1.5, float("nan"), 2.0],
        }
    )
    sink = io.BytesIO()
    parquet.write_table(table, sink, compression="zstd")
    lake = mapped(mapping, {"2023/07/10/part-0.PARQUET": sink.getvalue()})
    run_stage(spark, lake, "logs")
    assert cells(lake) == {
        "2023/07/10/part-0.PARQUET#0": ["1", "x", "2023-07-10 01:02:03", 1, "home", "tea", ["a, b", "c"], 1.5]
    }
    assert list(read(lake, "logs")["bill_entities"].iloc[0]) == ["k", "l"]
    assert reasons(lake) == {"missing_log_time": 1, "unknown_scene": 1}
    raw = {row.source_row: json.loads(row.raw) for row in read(lake, "quarantine").itertuples()}
    assert raw[2] == {"user_id": "3", "item_id": "z", "log_time": "2023-07-10 04:00:00.000000", "label": "false"} | {
        "query_entity_seq": "[]",
        "item_title": "milk",
        "scene": "4",
        "deep_features_0": "2.0",
    }


def test_json_lines_in_one_flat_folder(spark, mapped):
    mapping = f"""
{COLUMNS.replace("user_id: u", "user_id: user.id").replace("scene: s", "scene: {constant: home}")}
files: "impressions-{{yyyyMMdd}}-*.json{{,.gz,.bz2}}"
format: json
time: {{formats: [iso8601], zone: Europe/Berlin}}
event_id: req
"""
    rows = [
        {
            "user": {"id": n},
            "i": "x",
            "t": f"2023-07-10T0{n}:00:00Z",
            "c": 0,
            "n": "tea",
            "q": ["a"],
            "d": n,
            "req": f"r{n % 3}",
        }
        for n in range(4)
    ]
    text = "\n".join([*map(json.dumps, rows), "{broken", ""]).encode()
    other = json.dumps(rows[1] | {"user": {"id": 9}, "req": "r9"}).encode()
    files = {
        "impressions-20230710-1.json.gz": gzip.compress(text),
        "impressions-20230710-2.JSON.bz2": bz2.compress(other),
    }
    lake = mapped(mapping, files | {"impressions-20230711-1.json.gz": b"no gzip"})
    run_stage(spark, lake, "logs")
    first = cells(lake)["impressions-20230710-1.json.gz#1"]
    assert first == ["1", "x", "2023-07-10 03:00:00", 0, "home", "tea", ["a"], 1.0]
    assert sorted(row[0] for row in cells(lake).values()) == ["0", "1", "2", "9"]
    assert reasons(lake) == {"duplicate_event": 1, "malformed_record": 1}


def test_the_mapping_says_the_encoding(spark, mapped):
    """Bytes that it cannot decode reject their row; ids never merge."""
    lines = [f"{name}{n},i,2023-07-10 00:00:{n:02d},0,home,{name},," for n, name in enumerate(["用户", "会员", "游客"])]
    files = {
        "date=2023-07-10/a.csv": "\n".join(lines).encode("gb18030") + b"\n\xff\xff,i,2023-07-10 00:00:00,0,home,,,\n"
    }
    mapping = f"{COLUMNS}\n{NAMES}\nheader: false\n"
    lake = mapped(f"{mapping}encoding: gb18030\n", files)
    run_stage(spark, lake, "logs")
    assert [row[0] for row in cells(lake).values()] == ["用户0", "会员1", "游客2"]
    assert reasons(lake) == {"not_of_the_encoding": 1}
    assert stale_inputs(lake, lake.manifest("logs", DAY)) == []
    lake = mapped(mapping, {})
    assert stale_inputs(lake, lake.manifest("logs", DAY)) == [f"mapping/{DAY}"]
    with pytest.raises(DataQualityError, match="expected at least 1 row, observed 0 rows"):
        run_stage(spark, lake, "logs")


def test_duplicates_are_a_policy_that_fits_the_times(spark, mapped):
    rows = [f"u{n % 2},i,2023-07-10 0{n // 4}:00:00,0,home,,," for n in range(8)]
    mapping = f"{COLUMNS}\n{NAMES}\nheader: false\n"
    for policy, kept in (("auto", 8), ("keep", 8), ("reject", 4)):
        lake = mapped(f"{mapping}duplicates: {policy}\n", {"date=2023-07-10/a.csv": "\n".join(rows).encode()})
        run_stage(spark, lake, "logs")
        assert len(read(lake, "logs")) == kept
        assert lake.manifest("logs", DAY).profile["duplicates"] == ("reject" if policy == "reject" else "keep")
    lake = mapped(mapping, {"date=2023-07-10/b.csv": b"u,i,2023-07-10 00:00:01,0,home,,,"})
    run_stage(spark, lake, "logs")
    assert (len(read(lake, "logs")), reasons(lake)) == (5, {"duplicate_event": 4})


def test_a_file_that_does_not_fit_is_named_and_stages_nothing(spark, mapped):
    mapping = f"{COLUMNS}\nformat: parquet\n"
    lake = mapped(mapping, {"date=2023-07-10/a.parquet": b"no parquet"})
    with pytest.raises(
        InvalidInputError, match=r"Raw file a\.parquet of 2023-07-10 .*expected a complete parquet file"
    ):
        run_stage(spark, lake, "logs")
    assert lake.staged("logs", DAY) is None


def test_what_import_rejects_is_rejected_by_the_day_and_repaired(spark, lake, tmp_path):
    log = tmp_path / "log.csv"
    times = ["17.07.2023 00:00", "2023-07-10 01:00:01", "10.07.2023 02:00"]
    lines = ["u,i,t,c,s,n,q,d", *(f"u{n},i,{time},0,0,,," for n, time in enumerate(times)), "u9,i"]
    log.write_text("\n".join([*lines, ""]))
    (tmp_path / "map.yaml").write_text(f"{COLUMNS}\ntime: {{formats: ['%Y-%m-%d %H:%M:%S']}}\n")
    import_log([str(log)], read_mapping(str(tmp_path / "map.yaml")))
    quality = run_stage(spark, lake, "logs")
    manifest = lake.manifest("logs", DAY)
    assert (manifest.rows_in, manifest.tables["quarantine"].rows, quality.rows) == (4, 3, 1)
    assert reasons(lake) == {"timestamp_unparsable": 2, "malformed_record": 1}
    outcome = repair_day(lake, DAY, Repair.model_validate({"time": {"formats": ["%d.%m.%Y %H:%M"]}}), "fix.yaml")
    assert (outcome.rejected, outcome.repaired, outcome.malformed) == (3, 2, 1)
    run_stage(spark, lake, "logs")
    assert [row[:3] for row in cells(lake).values()] == [
        ["u1", "i", "2023-07-10 01:00:01"],
        ["u2", "i", "2023-07-10 02:00:00"],
    ]
    assert reasons(lake) == {"timestamp_of_another_day": 1, "malformed_record": 1}
    assert lake.manifest("logs", DAY).profile["repairs"] == {"rows": 2, "applied": 2}
    before = contents(lake, "logs")
    run_stage(spark, lake, "logs")
    assert contents(lake, "logs") == before
