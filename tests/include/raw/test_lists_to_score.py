"""A list to be scored is read as the raw logs are, completely or not at all."""

import bz2
import csv
import gzip
import io
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from budget import examples
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import orc, parquet

from include.errors import InvalidInputError
from include.lake.lake import get_lake
from include.raw.score_list import SCHEMA, ScoreList, put_list, read_list
from include.settings import get_settings

DAY = date(2023, 7, 10)
SHOP = """
columns:
  user_id: uid
  item_id: product.id
  log_time: at
  label: clicked
  scene: tab
  item_title: name
  deep_features_0: price
  query_entity_seq: searches
time:
  formats: ["%d.%m.%Y %H:%M"]
  zone: UTC
  day_zone: Asia/Shanghai
delimiter: "|"
nulls: ["\\\\N"]
decimal: ","
ids: integer
scenes: {front: "0", search: "1"}
"""


@pytest.fixture(autouse=True)
def use(tmp_path, monkeypatch):
    """Returns a function that makes a mapping that of the raw logs."""

    def chosen(text: str) -> None:
        (tmp_path / "mapping.yaml").write_text(text, encoding="utf-8")
        monkeypatch.setenv("CTR_RAW_MAPPING", str(tmp_path / "mapping.yaml"))
        get_settings.cache_clear()

    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    return chosen


def read(folder: Path, content: str | bytes, name: str = "list.csv") -> ScoreList:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_list(folder / name, DAY)


def column(listed: ScoreList, name: str) -> list[Any]:
    return listed.rows[name].to_pylist()


def refused(folder: Path, content: str | bytes, match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        read(folder, content)


def test_rows_have_the_columns_of_logs_and_defaults(tmp_path):
    listed = read(tmp_path, "user_id,item_id,scene\nu1,i2,0\nu2,i3,1\n")
    assert listed.rows.schema == SCHEMA
    assert column(listed, "event_id") == ["list#000000000000", "list#000000000001"]
    assert [moment.replace(tzinfo=None) for moment in column(listed, "log_ts")] == [datetime(2023, 7, 10, 12)] * 2
    row = listed.rows.to_pylist()[0]
    assert (row["item_title"], row["item_entities"], row["deep_features_3"], row["label"]) == (None, [], None, None)


def test_nothing_is_null_that_is_not_empty(tmp_path):
    ids = ["NA", "null", "None", "nan", "N/A"]
    listed = read(tmp_path, "user_id,item_id,scene\n" + "".join(f"{text},{text},0\n" for text in ids))
    assert column(listed, "user_id") == column(listed, "item_id") == ids


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_header_shows_the_delimiter(tmp_path, delimiter, end):
    rows = [["user_id", "item_id", "scene", "item_title"], ["u", "i", "0", '"a, b; c | d"']]
    listed = read(tmp_path, end.join(delimiter.join(row) for row in rows))
    assert (column(listed, "user_id"), column(listed, "item_title")) == (["u"], ["a, b; c | d"])


def test_values_are_read_by_the_mapping(tmp_path, use):
    """Delimiter, nulls, whole ids, decimal comma, names of scenes, entities, times in the zone of the days."""
    use(SHOP)
    content = "uid|product.id|tab|at|name|price|searches\n1700.0|007|front|10.07.2023 01:30|\\N|1,5|tea, cup\n"
    row = read(tmp_path, content).rows.to_pylist()[0]
    assert (row["user_id"], row["item_id"], row["scene"]) == ("1700", "7", "0")
    assert (row["item_title"], row["deep_features_0"], row["query_entities"]) == (None, 1.5, ["tea", "cup"])
    assert row["log_ts"].replace(tzinfo=None) == datetime(2023, 7, 10, 9, 30)


def test_columns_may_have_the_names_of_the_project(tmp_path, use):
    use(SHOP)
    listed = read(tmp_path, "user_id,item_id,scene,log_time\n5,6.0,search,\n5,7,1,2023-07-10 03:00:00\n")
    assert (column(listed, "item_id"), column(listed, "scene")) == (["6", "7"], ["1", "1"])
    assert [moment.hour for moment in column(listed, "log_ts")] == [12, 11]


def test_columns_that_are_not_read_are_named(tmp_path, use):
    use(SHOP)
    listed = read(tmp_path, "uid|product.id|tab|clicked|titel\n1|2|front|1|A cup\n")
    assert listed.ignored == ("titel",)
    assert column(listed, "label") == [None]


def test_a_scene_that_the_mapping_holds_constant_may_be_left_out(tmp_path, use):
    use(SHOP.replace("scene: tab", "scene: {constant: front}"))
    assert column(read(tmp_path, "uid|product.id\n1|2\n"), "scene") == ["0"]
    assert column(read(tmp_path, "user_id,item_id,scene\n1,2,search\n"), "scene") == ["1"]


def test_a_list_without_a_header_has_the_columns_of_the_log(tmp_path, use):
    use(
        "header: false\nnames: [item, when, user, click, page]\ncolumns: {user_id: user, item_id: item, log_time: when,"
        " label: click, scene: page}\n"
    )
    assert column(read(tmp_path, "i,2023-07-10T08:00:00,u,,3\n"), "user_id") == ["u"]
    assert column(read(tmp_path, "user_id,item_id,scene\nu,i,0\n"), "user_id") == ["u"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_json_lines_plain_or_compressed(tmp_path, use, pack):
    use(SHOP)
    rows = [
        {"uid": 1700, "product": {"id": 7.0, "brand": "x"}, "tab": "front"},
        {"uid": "1701", "product": {"id": "8"}, "tab": "search", "name": "A cup", "searches": ["green tea", "cup"]},
    ]
    listed = read(tmp_path, pack("\n".join(map(json.dumps, rows)).encode()), "list.data")
    assert (column(listed, "user_id"), column(listed, "item_id")) == (["1700", "1701"], ["7", "8"])
    assert column(listed, "query_entities") == [[], ["green tea", "cup"]]
    assert column(listed, "item_title") == [None, "A cup"]


@pytest.mark.parametrize("write", [parquet.write_table, orc.write_table])
def test_typed_files_whatever_they_are_called(tmp_path, use, write):
    use(SHOP)
    table = pa.table(
        {
            "user_id": pa.array([1700.0, 1701.0]),
            "item_id": pa.array([7, 8], pa.int64()),
            "scene": pa.array(["front", "1"]),
            "log_time": pa.array([datetime(2023, 7, 10, 1), None], pa.timestamp("us")),
            "query_entity_seq": pa.array([["tea", " cup "], None]),
        }
    )
    write(table, str(tmp_path / "a"))
    listed = read_list(tmp_path / "a", DAY)
    assert (column(listed, "user_id"), column(listed, "item_id")) == (["1700", "1701"], ["7", "8"])
    assert [moment.hour for moment in column(listed, "log_ts")] == [9, 12]
    assert column(listed, "query_entities") == [["tea", "cup"], []]


HEADER = "user_id,item_id,scene"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id,item_id\nu,i\n", "missing: scene; unknown: none. Line 1 begins: 'user_id,item_id'"),
        (f"{HEADER},titel\nu,i,0,1\n", "missing: none; unknown: titel"),
        ("user_id item_id scene\nu i 0\n", "missing: user_id, item_id, scene; unknown: none. Line 1 begins"),
        ('[{"user_id": "u"}]\n', "Line 1 begins: '\\[{"),
        ("", "holds no row"),
        (f"{HEADER}\n", "holds no row"),
        (f"{HEADER}\nu,i,0\n ,i,0\n", "1 of 2 rows .* 'user_id', the first one in row 2: expected a value, found ''"),
        (f"{HEADER}\nu,i,9\nu,i,8\n", r"row 1: expected a scene of the log \(0, 1, 2, 3, 4\), found '9'"),
        (f"{HEADER},log_time\nu,i,0,\nu,i,0,yesterday\n", "'log_time', the first one in row 2: .* found 'yesterday'"),
        (
            f"{HEADER},log_time\nu,i,0,2023-07-11 00:00:00\n",
            r"a time of 2023-07-10 \(UTC\), or none, found '2023-07-11",
        ),
        (f"{HEADER},deep_features_1\nu,i,0,much\n", "expected a finite number .* in 'deep_features_1', found 'much'"),
        (f"{HEADER}\nu,i,0\nu,i\n", "1 of 2 rows cannot be read, the first one in line 3: expected 3 fields, found 2"),
        (HEADER.encode() + b"\nu\xff,i,0\n", "line 2: bytes that are not utf-8"),
    ],
)
def test_a_list_of_another_form_is_refused_with_column_and_row(tmp_path, content, message):
    refused(tmp_path, content, message)


def test_an_id_that_is_no_whole_number_is_refused_unseen(tmp_path, use):
    use(SHOP)
    refused(tmp_path, "uid|product.id|tab\nanna|1|front\n", "in 'uid', found a value of 4 characters")
    refused(tmp_path, "uid|product.id|tab\n1|7a|front\n", "in 'product.id', found '7a'")


def test_every_kind_of_fault_is_reported_at_once(tmp_path):
    with pytest.raises(InvalidInputError) as error:
        read(tmp_path, "user_id,item_id,scene\n,i,0\nu,i,x\n,i,0\n")
    assert str(error.value).count("\n") == 2
    assert "2 of 3 rows have a wrong 'user_id'" in str(error.value)


@pytest.mark.parametrize("name", ["nothing.csv", "."])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(InvalidInputError, match="There is no file"):
        read_list(tmp_path / name, DAY)


def test_damage_is_named(tmp_path):
    packed = gzip.compress(b"user_id,item_id,scene\n" + b"u,i,0\n" * 100_000)
    refused(tmp_path, packed[: len(packed) // 2], "cannot be read to its end")
    refused(tmp_path, b"PAR1 and nothing more", "cannot be read to its end")


def test_the_same_rows_are_stored_once(tmp_path):
    folders = [
        put_list(get_lake(), read(tmp_path, content).rows)
        for content in (
            "user_id,item_id,scene\nu,i,0\n",
            "user_id;item_id;scene\n u ;i;0\n",
            "user_id,item_id,scene\nv,i,0\n",
        )
    ]
    assert folders[0] == folders[1] != folders[2]


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Z")), min_size=1, max_size=8)


@examples(60)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=20), delimiter=st.sampled_from(",;\t|"))
def test_any_ids_come_back_as_they_were_written(tmp_path_factory, rows, delimiter):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerows([("user_id", "item_id", "scene"), *((user, item, "0") for user, item in rows)])
    listed = read(tmp_path_factory.mktemp("list"), out.getvalue())
    assert list(zip(column(listed, "user_id"), column(listed, "item_id"), strict=True)) == rows
