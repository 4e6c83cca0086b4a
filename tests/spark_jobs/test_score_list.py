"""A list that was never logged gets the features that its rows would have had in the log."""

import json
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from small_days import DAY, build_only, csv_text, raw_row, write_raw

from include.errors import InvalidInputError
from include.lake.lake import Lake
from include.mapping.mapping import BUNDLED
from include.raw.score_list import put_list, read_list, rows_path
from include.schemas import RAW_COLUMNS
from include.settings import get_settings
from spark_jobs import score_list
from training.tables import read_day, read_orc

NEXT = DAY + timedelta(days=1)


@pytest.fixture(scope="module")
def two_days(spark, module_store: Lake) -> list[dict[str, str]]:
    """The raw rows of the second of two published days."""
    write_raw(csv_text([raw_row(n) for n in range(60)]))
    rows = [
        raw_row(n, log_time=f"{NEXT} 10:00:{n:02d}", item_title="" if n == 3 else f"A cup, no. {n}") for n in range(40)
    ]
    write_raw(csv_text(rows), day=NEXT)
    for day in (DAY, NEXT):
        for stage in ("logs", "features", "training"):
            build_only(spark, module_store, stage, day)
    return rows


def features(lake: Lake, path, day, *allowed: str) -> pa.Table:
    folder = put_list(lake, read_list(path, day).rows)
    score_list.main(day, day, folder, path.name, list(allowed))
    return read_orc(lake, rows_path(folder, day)).sort_by("event_id")


def written(text: str) -> dict[str, Any]:
    """The event of a list in what the job printed."""
    return next(event for event in map(json.loads, text.splitlines()) if event["stage"] == "list")


def test_a_list_of_logged_rows_equals_the_training_table(two_days, module_store, tmp_path):
    (tmp_path / "list.csv").write_text(csv_text(two_days, [name for name in RAW_COLUMNS if name != "label"]))
    found = features(module_store, tmp_path / "list.csv", NEXT)
    logged = read_day(module_store, "training", NEXT, "a test")
    position = pa.array([int(event.rsplit("#", 1)[1]) for event in logged["event_id"].to_pylist()])
    logged = logged.append_column("position", position).sort_by("position")
    for name in set(logged.column_names) - {"event_id", "label", "title_key", "position"}:
        assert found[name].to_pylist() == logged[name].to_pylist(), name
    titles = found["title_key"].to_pylist()
    logged_titles = logged["title_key"].to_pylist()
    assert logged_titles[3] is None  # the log said nothing, and the lake knows the item
    assert titles[:3] + titles[4:] == logged_titles[:3] + logged_titles[4:]
    assert found["label"].null_count == len(found)


def test_a_list_defaults_to_the_items_latest_text_and_noon(two_days, module_store, tmp_path):
    (tmp_path / "list.csv").write_text("user_id,item_id,scene\nu1,i2,0\nnobody,nothing,1\n")
    found = features(module_store, tmp_path / "list.csv", NEXT).to_pylist()
    assert [row["user_id"] for row in found] == ["u1", "nobody"]
    assert found[0]["item_entity_keys"] == features_of_entity(module_store)
    assert found[0]["title_key"] is not None
    assert (found[0]["hour_of_day"], found[0]["user_level"], found[0]["item_impressions_total"]) == (12, "warm", 12)
    assert (found[1]["user_level"], found[1]["item_level"], found[1]["title_key"]) == ("zero", "zero", None)


def features_of_entity(lake: Lake) -> list[int]:
    return read_day(lake, "training", NEXT, "a test")["item_entity_keys"].to_pylist()[0]


def test_known_users_and_items_are_counted(two_days, module_store, tmp_path, capsys):
    (tmp_path / "list.csv").write_text("user_id,item_id,scene\nu1,i2,0\nu2,i2,1\nNA,i1,1\nu3,new,1\n")
    features(module_store, tmp_path / "list.csv", NEXT)
    event = written(capsys.readouterr().out)
    assert (event["rows"], event["known_users"], event["known_items"], event["has_history"]) == (4, 3, 3, True)


def test_a_list_of_mostly_unknown_users_is_refused_masked(two_days, module_store, tmp_path):
    (tmp_path / "list.csv").write_text("user_id,item_id,scene\nU1,i2,0\nu1,i2,0\nU1,i2,0\nU2,i2,0\n")
    with pytest.raises(InvalidInputError) as error:
        features(module_store, tmp_path / "list.csv", NEXT)
    found = str(error.value)
    assert "list.csv: expected at most 50.0% of the rows (CTR_MAX_UNKNOWN_IDS)" in found
    assert "3 of 4 rows have unknown users (75.0%), such as masked " in found
    assert "(row 1), masked" in found
    assert "(row 4).\n- 4 of 4 rows have known items (100.0%)." in found
    assert "If they are new: --allow-unknown users." in found
    assert "U1" not in found
    assert features(module_store, tmp_path / "list.csv", NEXT, "users")["user_level"].to_pylist()[0] == "zero"


def test_new_items_alone_are_allowed_by_name(two_days, module_store, tmp_path):
    """Misspelt users are found even where all items of the list are new."""
    (tmp_path / "list.csv").write_text("user_id,item_id,scene\nu1,new,0\n")
    with pytest.raises(InvalidInputError, match=r"unknown items \(100.0%\), such as new \(row 1\); known are i\d"):
        features(module_store, tmp_path / "list.csv", NEXT)
    assert features(module_store, tmp_path / "list.csv", NEXT, "items")["item_level"].to_pylist() == ["zero"]
    (tmp_path / "list.csv").write_text("user_id,item_id,scene\nU1,new,0\n")
    with pytest.raises(InvalidInputError, match="unknown users"):
        features(module_store, tmp_path / "list.csv", NEXT, "items")


def test_another_spelling_of_whole_numbers_is_recognised(spark, lake, tmp_path, monkeypatch):
    """Of `17.0` in the list and `17` in the log; with `ids: integer` in the mapping both are one."""
    write_raw(csv_text([raw_row(n, user_id=f"{n % 7}", item_id=f"10{n % 5}") for n in range(40)]))
    for stage in ("logs", "features"):
        build_only(spark, lake, stage, DAY)
    (tmp_path / "list.csv").write_text("user_id,item_id,scene\n1.0,101.0,0\n2.0,0102,0\n")
    with pytest.raises(InvalidInputError) as error:
        features(lake, tmp_path / "list.csv", NEXT)
    assert "unknown items (100.0%), such as 101.0 (row 1), 0102 (row 2); known are 10" in str(error.value)
    assert str(error.value).count("2 of 2 of them are known as whole numbers.") == 2
    assert "say 'ids: integer' in the mapping" in str(error.value)
    text = (BUNDLED / "antm2c.yaml").read_text() + "ids: integer\n"
    (tmp_path / "mapping.yaml").write_text(text)
    monkeypatch.setenv("CTR_RAW_MAPPING", str(tmp_path / "mapping.yaml"))
    get_settings.cache_clear()
    found = features(lake, tmp_path / "list.csv", NEXT)
    assert (found["user_id"].to_pylist(), found["item_id"].to_pylist()) == (["1", "2"], ["101", "102"])


def test_without_features_before_nothing_is_known_or_refused(spark, lake, tmp_path, capsys):
    (tmp_path / "list.csv").write_text("user_id,item_id,scene\nu1,i2,0\n")
    found = features(lake, tmp_path / "list.csv", DAY)
    event = written(capsys.readouterr().out)
    assert (event["has_history"], event["known_users"], len(found)) == (False, 0, 1)
