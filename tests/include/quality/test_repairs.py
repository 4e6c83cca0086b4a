"""What a repair changes in a rejected row, and how the changes are kept; no Spark."""

import gzip
import json
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import orc
from sample_records import quality

from include.errors import InvalidInputError, MissingDataError
from include.lake.lake import Lake, get_lake
from include.lake.manifest import Manifest, TableVersion
from include.quality import repairs
from include.quality.repairs import Repair, Repairer, is_number, raw_columns, read_entries, read_repair, repair_day
from include.raw.deliveries import Raw, repairs_path
from include.raw.file_check import raw_digest
from include.schemas import RAW_COLUMNS
from include.settings import get_settings

DAY = date(2023, 7, 10)
ROW = dict.fromkeys(RAW_COLUMNS, "") | {
    "user_id": "ann",
    "log_time": "10.07.2023 08:00",
    "label": "clicked",
    "scene": "feed",
    "deep_features_0": "n/a",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    (tmp_path / "raw" / f"date={DAY}").mkdir(parents=True)
    yield tmp_path
    get_settings.cache_clear()


def changes(repair, reasons, **row):
    return Repairer(Repair.model_validate(repair)).changes(ROW | row, reasons)


def test_only_rejected_scenes_and_labels_are_changed():
    repair = {"scenes": {"feed": "0"}, "labels": {"clicked": "1"}}
    assert changes(repair, ["unknown_scene"]) == {"scene": "0"}
    assert changes(repair, ["label_not_0_or_1"]) == {"label": "1"}
    assert changes(repair, ["missing_user_id"]) == {}


@pytest.mark.parametrize("reason", ["timestamp_unparsable", "timestamp_of_another_day", "late_event"])
def test_times_are_read_again_only_where_they_were_rejected(reason):
    repair = {"time": {"formats": ["%d.%m.%Y %H:%M"], "zone": "Asia/Shanghai"}}
    assert changes(repair, [reason]) == {"log_time": "2023-07-10 00:00:00"}
    assert changes(repair, ["unknown_scene"]) == {}
    assert changes(repair, [reason], log_time="soon") == {}


def test_values_blanks_and_invisible_characters():
    assert changes({"values": {"deep_features_0": {"n/a": ""}}}, []) == {"deep_features_0": ""}
    assert changes({"fill": {"item_id": "unknown", "user_id": "x"}}, []) == {"item_id": "unknown"}
    assert changes({"trim": ["user_id"]}, [], user_id="\u200b ann\ufeff\xa0") == {"user_id": "ann"}
    both = {"trim": ["scene"], "scenes": {"feed": "0"}}
    assert changes(both, ["unknown_scene"], scene="feed\xa0") == {"scene": "0"}


def test_a_deep_feature_is_changed_only_to_a_number():
    assert changes({"trim": ["deep_features_0"]}, [], deep_features_0=" high ") == {}
    assert changes({"trim": ["deep_features_0"]}, [], deep_features_0="\xa00.5") == {"deep_features_0": "0.5"}


@pytest.mark.parametrize(("text", "number"), [("", True), ("-1.5e-3", True), (" 7 ", True), ("1_000", False)])
def test_a_number_is_what_spark_reads_as_one(text, number):
    assert is_number(text) is number
    assert not any(map(is_number, ("NaN", "Infinity", "0x1", "1d", "٣", "5\xa0")))


@given(st.text())
def test_what_counts_as_a_number_is_finite_or_blank(text):
    if is_number(text) and text.strip():
        float(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("description: nothing", "repairs nothing"),
        ("scene: {a: b}", "scene: Extra inputs"),
        ("fill: {colour: red}", "colour is no column"),
        ("values: {deep_features_1: {x: y}}", "'y' is no number"),
        ("time: {formats: [yyyy]}", "none of Python's formats"),
        ("a: [", "expected YAML"),
    ],
)
def test_a_wrong_repair_says_what_is_wrong_and_what_to_do(tmp_path, text, told):
    file = tmp_path / "fix.yaml"
    file.write_text(text)
    with pytest.raises(InvalidInputError, match=told):
        read_repair(str(file))


def test_a_missing_repair_is_a_clear_error(tmp_path):
    with pytest.raises(MissingDataError, match="There is no repair"):
        read_repair(str(tmp_path / "none.yaml"))


def test_a_quarantined_row_is_read_back_from_json():
    row = raw_columns(json.dumps({"user_id": 'a"b\n', "deep_features_1": "0.10", "label": "1"}))
    assert row is not None
    assert (row["user_id"], row["deep_features_1"], row["label"], row["scene"]) == ('a"b\n', "0.10", "1", "")
    assert raw_columns('"a, ""b""",1,high') is None


def test_damaged_repairs_are_a_clear_error(home):
    file = home / "raw" / "_repairs" / f"date={DAY}.jsonl.gz"
    file.parent.mkdir()
    for content in (b"not gzip", gzip.compress(b"not json\n"), gzip.compress(b"{}\n" * 99)[:-9]):
        file.write_bytes(content)
        with pytest.raises(InvalidInputError, match="cannot be read"):
            read_entries(Raw(), DAY)


def test_repairs_change_the_raw_digest_and_are_not_raw_files(home):
    before = raw_digest(DAY)
    folder = home / "raw" / "_repairs"
    folder.mkdir()
    entry = {"source_file": "f", "source_row": 1, "fingerprint": -2, "columns": {"scene": "0"}}
    with gzip.open(folder / f"date={DAY}.jsonl.gz", "wt") as file:
        file.write(json.dumps(entry) + "\n")
    assert raw_digest(DAY) != before
    assert [*read_entries(Raw(), DAY)] == [("f", 1, -2)]
    assert Raw().day_files(DAY) == []
    assert Raw().days() == [DAY]


ISO_LOCAL = Repair.model_validate({"time": {"formats": ["%Y-%m-%d %H:%M:%S"], "zone": "Asia/Shanghai"}})
SWAP = Repair(values={"scene": {"5": "6", "6": "5"}})


def reject(lake: Lake, *rows: tuple[dict[str, str], str]) -> None:
    """Publishes a quarantine that holds some rows, each with the reason why."""
    folder = Path(lake.path(lake.begin_staging("logs", DAY, "b"))) / "quarantine"
    folder.mkdir(parents=True)
    found = [
        {"source_file": "f", "source_row": n, "raw": json.dumps(ROW | row), "reasons": [reason], "fingerprint": n}
        for n, (row, reason) in enumerate(rows)
    ]
    orc.write_table(pa.Table.from_pylist(found), str(folder / "part-0.orc"))
    tables = {"quarantine": TableVersion(f"quarantine/dt={DAY}/build=b", len(rows), 1, "")}
    lake.finish_staging(Manifest("logs", str(DAY), "b", tables, len(rows), {}, "", ""), quality("logs", DAY))
    lake.publish("logs", DAY)


def kept() -> dict[int, dict[str, str]]:
    """The repaired columns of the day by row."""
    return {key[1]: json.loads(line)["columns"] for key, line in read_entries(Raw(), DAY).items()}


@pytest.mark.parametrize(
    ("repair", "row", "reason", "columns"),
    [
        (
            ISO_LOCAL,
            {"log_time": "2023-07-10 23:00:00"},
            "timestamp_of_another_day",
            {"log_time": "2023-07-10 15:00:00"},
        ),
        (SWAP, {"scene": "5"}, "unknown_scene", {"scene": "6"}),
        (Repair(values={"scene": {"a": "b", "b": "c"}}), {"scene": "a"}, "unknown_scene", {"scene": "b"}),
        (Repair(scenes={"5": "6", "6": "5"}), {"scene": "6"}, "unknown_scene", {"scene": "5"}),
    ],
)
def test_a_repair_repeated_changes_nothing_whatever_it_says(home, repair, row, reason, columns):
    reject(get_lake(), (row, reason))
    assert [repair_day(get_lake(), DAY, repair, "fix.yaml").repaired for _ in range(3)] == [1, 0, 0]
    assert kept() == {0: columns}


def test_a_later_repair_adds_to_an_earlier_one_or_undoes_it(home):
    reject(get_lake(), ({"log_time": "2023-07-10 07:00:00", "scene": " 5"}, "timestamp_of_another_day"))
    repair_day(get_lake(), DAY, ISO_LOCAL, "wrong.yaml")
    repair_day(get_lake(), DAY, Repair(trim=["scene"], fill={"item_id": "none"}), "second.yaml")
    assert kept() == {0: {"log_time": "2023-07-09 23:00:00", "scene": "5", "item_id": "none"}}
    back = Repair.model_validate({"time": {"formats": ["%Y-%m-%d %H:%M:%S"]}})
    outcome = repair_day(get_lake(), DAY, back, "right.yaml")
    assert (outcome.repaired, outcome.columns) == (1, {"log_time": 1})
    assert kept() == {0: {"scene": "5", "item_id": "none"}}


def test_concurrent_replays_lose_no_repair(home, monkeypatch):
    """One of the two is told to repeat the command."""
    reject(get_lake(), ({}, "unknown_scene"), ({}, "label_not_0_or_1"))
    scenes, labels, read = Repair(scenes={"feed": "0"}), Repair(labels={"clicked": "1"}), repairs.rejected_rows

    def meanwhile(*arguments):
        monkeypatch.setattr(repairs, "rejected_rows", read)
        repair_day(get_lake(), DAY, labels, "other.yaml")
        return read(*arguments)

    monkeypatch.setattr(repairs, "rejected_rows", meanwhile)
    with pytest.raises(InvalidInputError, match="repeat the command"):
        repair_day(get_lake(), DAY, scenes, "fix.yaml")
    assert kept() == {1: {"label": "1"}}
    repair_day(get_lake(), DAY, scenes, "fix.yaml")
    assert kept() == {0: {"scene": "0"}, 1: {"label": "1"}}
    assert Raw().names("_incoming") == []


def test_repairs_that_a_killed_process_was_moving_are_kept(home):
    reject(get_lake(), ({}, "unknown_scene"), ({}, "label_not_0_or_1"))
    repair_day(get_lake(), DAY, Repair(labels={"clicked": "1"}), "first.yaml")
    killed = home / "raw" / "_incoming" / "20230710T000000-abc"
    (killed / "_repairs").mkdir(parents=True)
    (home / "raw" / repairs_path(DAY)).rename(killed / repairs_path(DAY))
    (killed / "journal.json").write_text(json.dumps({"put": [repairs_path(DAY)], "remove": []}))
    repair_day(get_lake(), DAY, Repair(scenes={"feed": "0"}), "second.yaml")
    assert kept() == {0: {"scene": "0"}, 1: {"label": "1"}}
