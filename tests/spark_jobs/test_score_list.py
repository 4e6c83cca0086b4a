"""A list that was never logged gets the features that its rows would have had in the log."""

from datetime import timedelta

import pyarrow as pa
import pytest
from small_days import DAY, build_only, csv_text, raw_row, write_raw

from include.errors import InvalidInputError
from include.lake.lake import Lake
from include.raw.score_list import COLUMNS, put_list, read_list, rows_path
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


def features(lake: Lake, path, day) -> pa.Table:
    folder = put_list(lake, read_list(path, day))
    score_list.main(day, day, folder)
    return read_orc(lake, rows_path(folder, day)).sort_by("event_id")


def test_a_list_of_logged_rows_equals_the_training_table(two_days, module_store, tmp_path):
    unlabelled = [{name: row[name] for name in COLUMNS} for row in two_days]
    (tmp_path / "list.csv").write_text(csv_text(unlabelled, COLUMNS))
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


def test_a_time_that_is_none_is_named(two_days, module_store, tmp_path):
    (tmp_path / "list.csv").write_text(
        "user_id,item_id,scene,log_time\nu1,i2,0,2023-07-11 08:00:00\nu1,i2,0,yesterday\n"
    )
    with pytest.raises(InvalidInputError, match="Row 2 of the list has the log_time 'yesterday'"):
        features(module_store, tmp_path / "list.csv", NEXT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id,item_id\nu,i\n", "missing: scene; unknown: none"),
        ("user_id,item_id,scene,label\nu,i,0,1\n", "unknown: label"),
        ("user_id,item_id,scene\n", "holds no row"),
        ("user_id,item_id,scene\nu,i,0\n ,i,0\n", "1 of 2 rows have a wrong 'user_id', the first one in row 2"),
        ("user_id,item_id,scene\nu,i,9\n", r"expected a scene of CTR_SCENES \(0, 1, 2, 3, 4\), found '9'"),
        ("user_id,item_id,scene,deep_features_0\nu,i,0,much\n", "no CSV or Parquet file"),
    ],
)
def test_a_list_of_another_form_is_refused_with_column_and_row(content, message, tmp_path):
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(InvalidInputError, match=message):
        read_list(tmp_path / "list.csv", DAY)
