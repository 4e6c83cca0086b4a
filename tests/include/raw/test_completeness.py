"""A day is complete when its deliverer says so, and a manifest that promises something else than what came is named."""

import hashlib
import json
import os
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from include.completeness_rules import FileCount, ManifestFile, Marker, Quiet, parse_rules
from include.errors import InvalidInputError, SettingError
from include.raw import completeness
from include.raw.completeness import changed_since, control_files, promised_rows, waits_for
from include.raw.deliveries import Raw
from include.settings import get_settings

DAY = date(2023, 7, 17)
MANIFEST = "_MANIFEST.json"
ROWS = b"user_id\n1\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    path = tmp_path / "raw" / f"date={DAY}"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def rules(monkeypatch):
    """Set CTR_RAW_COMPLETE."""

    def use(text):
        monkeypatch.setenv("CTR_RAW_COMPLETE", text)
        get_settings.cache_clear()

    return use


@pytest.fixture
def later(monkeypatch):
    """Move the clock of the looks; files have the times that the file system gives them."""

    def move(seconds):
        clock = type(
            "Clock",
            (datetime,),
            {"now": classmethod(lambda _, zone: datetime.now(zone) + timedelta(seconds=seconds))},
        )
        monkeypatch.setattr(completeness, "datetime", clock)

    return move


def missing():
    return waits_for(Raw(), DAY)


def promise(folder, content):
    (folder / MANIFEST).write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_marker_completes_the_day_at_once(folder):
    assert missing() == f"No whole file; waits for files in {Raw().url}/date={DAY}."
    (folder / "part-0.csv").write_bytes(ROWS)
    assert missing().startswith(
        "1 file, 10 bytes; waits for _SUCCESS or 5 minutes without a change (last change 0 s ago)"
    )
    (folder / "_SUCCESS").touch()
    assert missing() is None


def test_a_marker_without_files_is_no_log(folder):
    (folder / "_SUCCESS").touch()
    assert "waits for files" in missing()


def test_without_a_marker_quiet_minutes_complete_the_day(folder, later):
    (folder / "part-0.csv").write_bytes(ROWS)
    later(290)
    assert "(last change 290 s ago)" in missing()
    later(301)
    assert missing() is None


def test_a_copy_that_keeps_an_old_time_is_a_change(folder, later):
    """`cp -p` and rsync give the file the time of its original."""
    (folder / "part-0.csv").write_bytes(ROWS)
    os.utime(folder / "part-0.csv", (1, 1))
    later(100)
    assert "last change 100 s ago" in missing()


def test_a_removed_file_is_a_change_too(folder, later):
    for name in ("part-0.csv", "part-1.csv"):
        (folder / name).write_bytes(ROWS)
        os.utime(folder / name, (1, 1))
    (folder / "part-1.csv").unlink()
    later(60)
    assert "last change 60 s ago" in missing()


def test_a_file_still_being_written_is_waited_for(folder):
    (folder / "_SUCCESS").touch()
    (folder / "part-0.csv").write_bytes(ROWS)
    (folder / "part-1.csv._COPYING_").write_bytes(ROWS)
    assert "still being written" in missing()


def test_a_file_that_no_run_reads_counts_as_delivered(folder):
    """The run then names it instead of waiting for others."""
    (folder / "_SUCCESS").touch()
    (folder / "part-0.parquet").write_bytes(ROWS)
    assert missing() is None


def test_a_number_of_files_is_waited_for(folder, rules):
    rules("files:2, marker")
    (folder / "part-0.csv").write_bytes(ROWS)
    assert missing() == "1 file, 10 bytes; waits for 2 files, and _SUCCESS."
    (folder / "part-1.csv").write_bytes(ROWS)
    assert missing() == "2 files, 20 bytes; waits for _SUCCESS."


def test_a_day_declared_empty_waits_for_no_file(monkeypatch):
    monkeypatch.setenv("CTR_EMPTY_DAYS", str(DAY))
    get_settings.cache_clear()
    assert missing() is None


def test_a_manifest_names_the_files_that_are_missing(folder, rules):
    rules(f"manifest:{MANIFEST}")
    (folder / "part-0.csv").write_bytes(ROWS)
    assert missing() == f"1 file, 10 bytes; waits for {MANIFEST}."
    promise(folder, {"files": ["part-0.csv", "part-1.csv"]})
    assert f"waits for 1 file that {MANIFEST} lists: date={DAY}/part-1.csv." in missing()
    (folder / "part-1.csv").write_bytes(ROWS)
    assert missing() is None


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ({"bytes": 11}, "part-0.csv has 10 bytes, promised are 11"),
        ({"bytes": 10, "sha256": "0" * 64}, "promised is 000000000000…"),
    ],
)
def test_a_manifest_that_lies_is_waited_for_and_named(folder, rules, file, found):
    rules(f"manifest:{MANIFEST}")
    (folder / "part-0.csv").write_bytes(ROWS)
    promise(folder, {"files": {"part-0.csv": file}})
    assert f"waits for files as {MANIFEST} promises them" in missing()
    assert found in missing()
    promise(folder, {"files": {"part-0.csv": {"bytes": 10, "sha256": hashlib.sha256(ROWS).hexdigest().upper()}}})
    assert missing() is None


def test_a_file_that_the_manifest_does_not_list_is_named(folder, rules):
    rules(f"manifest:{MANIFEST}")
    for name in ("part-0.csv", "left-over.csv"):
        (folder / name).write_bytes(ROWS)
    promise(folder, {"files": ["part-0.csv"]})
    assert f"date={DAY}/left-over.csv is not listed" in missing()


def test_checksums_are_read_only_when_nothing_else_is_missing(folder, rules, monkeypatch):
    rules(f"manifest:{MANIFEST}, marker")
    (folder / "part-0.csv").write_bytes(ROWS)
    promise(folder, {"files": {"part-0.csv": {"sha256": "0" * 64}}})
    read = []
    monkeypatch.setattr(completeness, "_sha256", lambda raw, path: read.append(path) or "1" * 64)
    assert (missing(), read) == ("1 file, 10 bytes; waits for _SUCCESS.", [])
    (folder / "_SUCCESS").touch()
    assert "SHA-256 111111111111…" in missing()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ('{"files": {"part-0.csv"', "content: Invalid JSON"),
        ({"files": {"part-0.csv": {"rows": "many"}}}, "files.part-0.csv.rows: Input should be a valid integer"),
        ({"files": {"part-0.csv": {"rows": 2}}, "rows": 3}, "rows is 3, and the rows of its files are 2 together"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_waited_for(folder, rules, content, fault):
    """It may be half written; after ingest has begun it is an error."""
    rules(f"manifest:{MANIFEST}")
    (folder / "part-0.csv").write_bytes(ROWS)
    promise(folder, content)
    assert fault in missing()
    with pytest.raises(InvalidInputError, match="is no manifest of a day"):
        promised_rows(Raw(), DAY)


@pytest.mark.parametrize(
    ("content", "promised"),
    [
        ({"files": {"a.csv": {"rows": 3}, "b.csv": {"rows": 0}}}, {f"date={DAY}/a.csv": 3, f"date={DAY}/b.csv": 0}),
        ({"files": {"a.csv": {"rows": 3}, "b.csv": {}}}, {f"date={DAY}/a.csv": 3}),
        ({"files": {"a.csv": {"rows": 3}, "b.csv": {}}, "rows": 5}, 5),
        ({"rows": 1500, "made_by": "ads-export"}, 1500),
        ({"files": ["a.csv"]}, None),
    ],
)
def test_the_rows_that_a_manifest_promises(folder, rules, content, promised):
    rules(f"manifest:{MANIFEST} or quiet:5")
    assert promised_rows(Raw(), DAY) is None
    promise(folder, content)
    assert promised_rows(Raw(), DAY) == promised


def test_a_folder_of_many_days_needs_a_marker_that_names_the_day(tmp_path, rules, monkeypatch):
    mapping = tmp_path / "flat.yaml"
    mapping.write_text(
        "files: log-{yyyyMMdd}*.csv\ncolumns: {user_id: u, item_id: i, log_time: t, label: l, scene: s}\n"
    )
    monkeypatch.setenv("CTR_RAW_MAPPING", str(mapping))
    rules("marker")
    (tmp_path / "raw/log-20230717-a.csv").write_bytes(ROWS)
    (tmp_path / "raw/_SUCCESS").touch()
    assert "a marker that names the day, such as marker:_SUCCESS-{yyyyMMdd}" in missing()
    rules("marker:log-{yyyyMMdd}.done")
    assert missing().endswith("waits for log-20230717.done.")
    (tmp_path / "raw/log-20230717.done").touch()
    assert missing() is None
    assert control_files(DAY) == {"log-20230717.done"}


def test_files_that_changed_since_a_moment_are_named(folder):
    (folder / "part-0.csv").write_bytes(ROWS)
    (folder / "_SUCCESS").touch()
    now = datetime.now().astimezone()
    assert changed_since(Raw(), DAY, now - timedelta(minutes=1)) == (f"date={DAY}/part-0.csv",)
    assert changed_since(Raw(), DAY, now + timedelta(minutes=1)) == ()


def test_rules_are_alternatives_of_which_all_must_hold():
    assert parse_rules("marker or quiet:0.5, manifest:a/_M-{yyyy-MM-dd}.json,files:24") == (
        (Marker("_SUCCESS"), Quiet(0.5)),
        (ManifestFile("a/_M-{yyyy-MM-dd}.json"),),
        (FileCount(24),),
    )


@pytest.mark.parametrize(
    "text", ["", "marker,", "mark", "quiet", "quiet:soon", "files:0", "manifest", "marker:../x", "marker:{day}"]
)
def test_a_wrong_rule_is_refused_with_its_forms(rules, text):
    rules(text)
    with pytest.raises(SettingError, match=r"CTR_RAW_COMPLETE: Value error, .*(expected rules|no name of a marker)"):
        get_settings()
