"""`docs/raw-logs.md` says what the mapping and the readers do."""

import re
from pathlib import Path
from typing import Any

import pytest

from include.mapping.file_pattern import FilePattern
from include.mapping.mapping import Mapping, Times
from include.raw.drafting.check import check_mapping
from include.setting_groups import PROJECT

pytestmark = pytest.mark.usefixtures("home")

HEADER = "uid,sku,ts,clicked,name,seq,price\n"
COLUMNS = {
    "user_id": "uid",
    "item_id": "sku",
    "log_time": "ts",
    "label": "clicked",
    "scene": {"constant": "0"},
    "item_title": "name",
    "query_entity_seq": "seq",
    "deep_features_0": "price",
}
ROW = {"uid": "u", "sku": "i", "ts": "2023-07-17 00:00:00", "clicked": "0", "name": "t", "seq": "a", "price": "1"}


def test_docs_list_every_key_with_its_default():
    text = (PROJECT / "docs/raw-logs.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)` \| (?:`(.*?)`|required|ISO 8601 in UTC) \|", text, re.M))
    defaults = {name: field.get_default(call_default_factory=True) for name, field in Mapping.model_fields.items()}
    defaults |= {f"time.{name}": field.default for name, field in Times.model_fields.items()}
    assert rows.keys() >= defaults.keys()
    for name, default in defaults.items():
        if name not in ("columns", "time"):
            shown = {"": '""'}.get(str(default), str(default)) if not isinstance(default, FilePattern) else default.text
            assert rows[name] == shown.replace("'", ""), name


@pytest.mark.parametrize(
    ("values", "keys", "expected"),
    [
        ({"uid": ""}, {}, "missing_user_id"),
        ({"uid": "NULL"}, {}, {"user_id": "NULL"}),
        ({"uid": "NULL"}, {"nulls": ["NULL"]}, "missing_user_id"),
        ({"uid": "\\N"}, {"escape": "\\"}, "missing_user_id"),
        ({"name": '"a ""b"""'}, {}, {"item_title": 'a "b"'}),
        ({"name": '"27 inch'}, {}, "malformed_record"),
        ({"name": '27" inch'}, {}, {"item_title": '27" inch'}),
        ({"name": '"27 inch'}, {"quote": ""}, {"item_title": '"27 inch'}),
        ({"name": "a\\, b"}, {"escape": "\\"}, {"item_title": "a, b"}),
        ({"name": '"a \\"b\\" \\\\ c"'}, {"escape": "quote"}, {"item_title": 'a "b" \\ c'}),
        ({"name": '"a\nb"'}, {}, {"item_title": "a\nb"}),
        ({"name": "a\0b"}, {}, {"item_title": "a\0b"}),
        ({"price": "1,5"}, {"delimiter": ";"}, "deep_feature_not_a_number"),
        ({"price": "1.234,5"}, {"delimiter": ";", "decimal": ",", "thousands": "."}, {"deep_features_0": "1234.5"}),
        ({"price": "inf"}, {}, "deep_feature_not_a_number"),
        ({"clicked": "True"}, {}, {"label": "1"}),
        ({"clicked": "yes"}, {}, "label_not_0_or_1"),
        ({"clicked": "yes"}, {"labels": {"yes": "1"}}, {"label": "1"}),
        ({"uid": "007", "sku": "12.0"}, {}, {"user_id": "007", "item_id": "12.0"}),
        ({"uid": "007", "sku": "12.0"}, {"ids": "integer"}, {"user_id": "7", "item_id": "12"}),
        ({"uid": "u", "sku": "1"}, {"ids": "integer"}, "id_not_an_integer"),
        ({"ts": "1689552000"}, {}, "timestamp_unparsable"),
        ({"ts": "1689552000.5"}, {"time": {"formats": ["epoch_seconds"]}}, {"log_time": "2023-07-17 00:00:00.500000"}),
        ({"ts": "2023-07-17T20:00:00Z"}, {"time": {"zone": "Asia/Shanghai"}}, {"log_time": "2023-07-18 04:00:00"}),
        ({"ts": "2023-07-17 20:00:00"}, {"time": {"day_zone": "Asia/Shanghai"}}, {"log_time": "2023-07-18 04:00:00"}),
        ({"ts": "2023-07-17 20:00:00 CST"}, {}, "timestamp_unparsable"),
        ({"ts": "2023-03-26 02:30:00"}, {"time": {"zone": "Europe/Berlin"}}, {"log_time": "2023-03-26 02:30:00"}),
        (
            {"ts": "2023-03-26 02:30:00"},
            {"time": {"zone": "Europe/Berlin", "day_zone": "UTC"}},
            {"log_time": "2023-03-26 01:00:00"},
        ),
        (
            {"ts": "2023-10-29 02:30:00"},
            {"time": {"zone": "Europe/Berlin", "day_zone": "UTC"}},
            {"log_time": "2023-10-29 00:30:00"},
        ),
        ({"ts": "1902-01-01 00:00:00"}, {}, "timestamp_out_of_range"),
        ({"seq": "[a| b]"}, {}, {"query_entity_seq": "[a| b]"}),
    ],
)
def test_what_the_docs_say_of_values(home: Path, values: dict[str, str], keys: dict[str, Any], expected: Any):
    """Each case is a row of the table in `docs/raw-logs.md`."""
    mark = keys.get("delimiter", ",")
    row = mark.join((ROW | values).values())
    good = mark.join((ROW | ({"uid": "1", "sku": "2"} if "ids" in keys else {}) | {"name": "good"}).values())
    (home / "log").write_text(HEADER.replace(",", mark) + row + "\n" + good + "\n", encoding="utf-8")
    mapping = Mapping.model_validate({"columns": COLUMNS, **keys})
    check = check_mapping([str(home / "log")], mapping)
    if isinstance(expected, str):
        assert {name: found.records for name, found in check.rejections.items()} in ({expected: 1}, {expected: 2})
        return
    assert check.rows[0] | expected == check.rows[0]


def test_marks_of_files_put_one_behind_the_other_are_no_part_of_a_value(home: Path):
    rows = ",".join(ROW.values()) + '\n"u2",i,2023-07-17 00:00:01,0,"\n\ufeffx",a,1\n'
    (home / "log").write_text("\ufeff" + HEADER + rows + "\ufeff" + rows, encoding="utf-8")
    check = check_mapping([str(home / "log")], Mapping.model_validate({"columns": COLUMNS, "duplicates": "keep"}))
    assert [row["user_id"] for row in check.rows] == ["u", "u2", "u", "u2"]
    assert check.rows[1]["item_title"] == "\n\ufeffx"
    assert check.rejections == {}
