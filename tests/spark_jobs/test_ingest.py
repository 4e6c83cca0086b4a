"""Every kind of bad input: a clear error, or quarantine with a reason; no row is lost."""

import bz2
import gzip
import json
from collections import Counter, defaultdict
from datetime import date

import pandas as pd
import pytest
from small_days import DAY, contents, csv_text, raw_row, read, run_stage, write_raw

from include.days.backfill_plan import stale_inputs
from include.errors import DataQualityError, InvalidInputError, MissingDataError
from include.raw.file_check import check_raw_day
from include.schemas import RAW_COLUMNS

pytestmark = pytest.mark.spark

GOOD = [raw_row(n) for n in range(40)]
BAD = {
    "missing_user_id": raw_row(101, user_id=" "),
    "missing_item_id": raw_row(102, item_id=""),
    "missing_log_time": raw_row(103, log_time=""),
    "label_not_0_or_1": raw_row(104, label="yes"),
    "unknown_scene": raw_row(105, scene="9"),
    "timestamp_unparsable": raw_row(106, log_time="10.07.2023"),
    "timestamp_of_another_day": raw_row(107, log_time="2023-07-11 00:00:00"),
    "field_too_long": raw_row(108, item_title="x" * 10_000_000),
    "deep_feature_not_a_number": raw_row(109, deep_features_3="high"),
    "duplicate_event": raw_row(7),
}
NOT_A_NUMBER = [raw_row(110, deep_features_0="NaN"), raw_row(111, deep_features_26="-Infinity")]


@pytest.fixture(scope="module")
def day(spark, module_store):
    """One day of three files: good rows and one of each flaw; BOM with CRLF and quoted line breaks; other column order."""
    rows = [*GOOD, *BAD.values(), *NOT_A_NUMBER]
    write_raw(csv_text(rows) + "too,few,fields\n" + "," * 50 + "\n\n   \n", "part-0.csv.gz")
    second = [raw_row(200 + n, log_time="2023/7/10 1:02", item_title=f'two\r\nlines, "quoted" {n}') for n in range(9)]
    write_raw("\ufeff" + csv_text(second, end="\r\n"), "part 1+2.csv")
    columns = [name for name in reversed(RAW_COLUMNS) if name not in ("deep_features_26", "bill_entity_seq")]
    write_raw(csv_text([raw_row(300 + n, item_title="龙井茶；") for n in range(5)], columns), "part-2.csv")
    quality = run_stage(spark, module_store, "logs")
    return module_store, quality


def test_rows_in_are_logs_plus_quarantine(day):
    lake, _ = day
    manifest = lake.manifest("logs", DAY)
    assert manifest.rows_in == 40 + 10 + 2 + 3 + 9 + 5
    assert manifest.tables["logs"].rows == len(read(lake, "logs")) == 40 + 9 + 5
    assert manifest.tables["quarantine"].rows == len(read(lake, "quarantine")) == 10 + 2 + 3
    assert len({*read(lake, "logs")["event_id"]}) == 54


def test_every_rejected_row_has_its_reason_and_all_that_came_in(day):
    lake, _ = day
    quarantine = read(lake, "quarantine")
    assert Counter(reason for reasons in quarantine["reasons"] for reason in reasons) == Counter(
        dict.fromkeys(BAD, 1) | {"deep_feature_not_a_number": 3, "malformed_record": 3}
    )
    raw = defaultdict(list)
    for reasons, text in zip(quarantine["reasons"], quarantine["raw"], strict=True):
        raw[reasons[0]].append(text)
    assert json.loads(raw["unknown_scene"][0])["scene"] == "9"
    assert len(json.loads(raw["field_too_long"][0])["item_title"]) == 10_000_000
    assert json.loads(raw["deep_feature_not_a_number"][0])["deep_features_3"] == "high"
    assert {text.strip() for text in raw["malformed_record"]} == {"too,few,fields", "," * 50, ""}


def test_the_later_of_two_equal_rows_is_the_duplicate(day):
    lake, _ = day
    quarantine = read(lake, "quarantine")
    duplicate = quarantine[[reasons[0] == "duplicate_event" for reasons in quarantine["reasons"]]].iloc[0]
    assert (duplicate["source_file"], duplicate["source_row"]) == (f"date={DAY}/part-0.csv.gz", 49)
    assert f"date={DAY}/part-0.csv.gz#7" in set(read(lake, "logs")["event_id"])


def test_values_are_typed_and_entities_split(day):
    lake, _ = day
    logs = read(lake, "logs").set_index("event_id")
    first = logs.loc[f"date={DAY}/part-0.csv.gz#3"]
    assert first["log_ts"] == pd.Timestamp("2023-07-10 00:00:03")
    assert (first["user_id"], first["label"], first["scene"], first["deep_features_2"]) == ("u3", 0, "3", 0.2)
    assert list(first["query_entities"]) == ["tea", "green tea", "cup"]
    assert list(first["bill_entities"]) == []
    assert first["deep_features_26"] is None or pd.isna(first["deep_features_26"])


def test_bom_crlf_line_breaks_and_the_second_time_format(day):
    lake, _ = day
    logs = read(lake, "logs").set_index("event_id")
    row = logs.loc[f"date={DAY}/part 1+2.csv#8"]
    assert row["user_id"] == "u5"
    assert row["item_title"].replace("\r\n", "\n") == 'two\nlines, "quoted" 8'
    assert row["log_ts"] == pd.Timestamp("2023-07-10 01:02:00")


def test_another_column_order_and_absent_optional_columns(day):
    lake, _ = day
    row = read(lake, "logs").set_index("event_id").loc[f"date={DAY}/part-2.csv#4"]
    assert (row["user_id"], row["item_title"]) == ("u3", "龙井茶；")
    assert list(row["bill_entities"]) == []


def test_checks_are_recorded_and_pass(day):
    lake, quality = day
    assert quality.checks == lake.quality("logs", DAY).checks
    assert {check.name for check in quality.checks if check.status != "pass"} <= {
        "expect_known_scenes",
        "expect_few_duplicates",
    }
    assert lake.manifest("logs", DAY).profile["quarantined"]["unknown_scene"] == 1


def test_a_rerun_gives_the_same_rows(spark, day):
    lake, _ = day
    before = contents(lake, "logs"), contents(lake, "quarantine"), lake.manifest("logs", DAY).build
    run_stage(spark, lake, "logs")
    assert (contents(lake, "logs"), contents(lake, "quarantine")) == before[:2]
    assert lake.manifest("logs", DAY).build != before[2]


def test_no_file_is_missing_data(spark, lake):
    with pytest.raises(MissingDataError, match="No raw log of 2023-07-10"):
        run_stage(spark, lake, "logs")


def test_an_unreadable_gzip_stages_nothing(spark, lake):
    path = write_raw(csv_text(GOOD), "part-0.csv.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInputError, match=r"part-0\.csv\.gz of 2023-07-10 .* cannot be read to its end"):
        run_stage(spark, lake, "logs")
    assert lake.staged("logs", DAY) is None


def test_a_wrongly_typed_column_fails_and_keeps_the_old_build(spark, lake, monkeypatch):
    write_raw(csv_text(GOOD))
    run_stage(spark, lake, "logs")
    build, rows = lake.manifest("logs", DAY).build, contents(lake, "logs")
    monkeypatch.setenv("CTR_MAX_QUARANTINE_RATE", "0.02")
    from include.settings import get_settings

    get_settings.cache_clear()
    write_raw(csv_text([row | {"label": "clicked"} for row in GOOD]))
    with pytest.raises(DataQualityError, match=r"expect_quarantine_rate_at_most.*2\.00%.*100\.00%"):
        run_stage(spark, lake, "logs")
    assert (lake.manifest("logs", DAY).build, contents(lake, "logs")) == (build, rows)
    assert lake.quality("logs", DAY).status == "fail"


def test_a_stray_quote_rejects_its_line_alone(spark, lake):
    lines = csv_text([row | {"item_title": "cup"} for row in GOOD[:6]]).splitlines()
    write_raw("\n".join([*lines[:4], 'u9,"open quote ' + lines[4], *lines[5:]]) + "\n")
    run_stage(spark, lake, "logs")
    assert len(read(lake, "logs")) == 5
    quarantine = read(lake, "quarantine")
    assert [*quarantine["reasons"].iloc[0]] == ["malformed_record"]
    assert quarantine["raw"].iloc[0] == 'u9,"open quote ' + lines[4]


def test_quotes_inside_unquoted_fields_are_counted_right(spark, lake):
    write_raw(
        csv_text(GOOD[:3]).rstrip("\n").replace("A cup", 'A 5" cup').replace('"A 5" cup, no. 0"', 'A 5" cup') + "\n"
    )
    run_stage(spark, lake, "logs")
    manifest = lake.manifest("logs", DAY)
    assert manifest.rows_in == manifest.tables["logs"].rows + manifest.tables["quarantine"].rows


def test_many_days_need_publish():
    from spark_jobs.ingest import main

    with pytest.raises(InvalidInputError, match="add --publish"):
        main(date(2023, 7, 10), date(2023, 7, 11))


def test_a_range_that_ends_before_it_starts_is_refused():
    from spark_jobs.stage import day_range

    with pytest.raises(InvalidInputError, match="ends before it starts"):
        day_range(date(2023, 7, 10), date(2023, 7, 9), publish=False)
    assert day_range(date(2023, 7, 10), date(2023, 7, 10), publish=False) == [date(2023, 7, 10)]


def test_a_file_that_comes_during_ingestion_makes_the_day_stale(spark, lake, monkeypatch):
    def checked(day):
        files = check_raw_day(day)
        write_raw(csv_text([raw_row(900)]), "late.csv")
        return files

    write_raw(csv_text(GOOD))
    monkeypatch.setattr("spark_jobs.ingest.check_raw_day", checked)
    run_stage(spark, lake, "logs")
    assert len(read(lake, "logs")) == len(GOOD)
    assert stale_inputs(lake, lake.manifest("logs", DAY)) == [f"raw/{DAY}"]


def test_files_of_any_name_and_compression_are_read(spark, lake):
    """What a file is says its content: a colon, capitals, folders of hours and a missing ending do not matter."""
    texts = [csv_text([raw_row(n, item_title=f"title {part}") for n in range(10)]).encode() for part in range(4)]
    write_raw(texts[0], "part-0.CSV")
    write_raw(bz2.compress(texts[1]), "events_2023-07-10T00:00:00Z.csv.bz2")
    write_raw(gzip.compress(texts[2]), "hour=05/part 2.csv.GZ")
    write_raw(gzip.compress(texts[3]), "hour=05/100%.csv")
    assert run_stage(spark, lake, "logs").rows == 40
    assert read(lake, "logs")["event_id"].str.rsplit("#", n=1).str[0].value_counts().to_dict() == {
        f"date={DAY}/{name}": 10
        for name in ("part-0.CSV", "events_2023-07-10T00:00:00Z.csv.bz2", "hour=05/part 2.csv.GZ", "hour=05/100%.csv")
    }
