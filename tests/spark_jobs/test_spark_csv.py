"""What Spark's own CSV writer makes of nasty strings comes back through the mapping that `ctr map` drafts."""

from pathlib import Path

import pytest

from include.mapping.mapping import Mapping
from include.raw.draft_mapping import draft_mapping
from include.raw.reading.files import read_records
from include.raw.reading.records import FileCounts

pytestmark = pytest.mark.spark

PIECES = [
    '"', '""', "'", "\\", "\\\\", '\\"', "\\N", "\\n", "\n", "\r", "\r\n", "\t", ",", ";", "|", "\x01", "\0", "NULL", "#", "é",
    "😀", '","', "\u2028", "[1]",
]  # fmt: skip
TITLES = [*(f"a{piece}b" for piece in PIECES), *PIECES, *(a + b for a in PIECES for b in PIECES), "", "plain", None]


def trimmed(text: str | None) -> str | None:
    """Return a value as Spark writes it: without the blanks and control characters around it."""
    return (text or "").strip("".join(map(chr, range(33)))) or None


def test_nasty_strings_come_back(spark, tmp_path: Path):
    rows = [(f"u{n}", "i1", f"2023-07-17 00:00:{n % 60:02}", str(n % 2), title) for n, title in enumerate(TITLES)]
    schema = "uid string, sku string, ts string, click string, title string"
    spark.createDataFrame(rows, schema).coalesce(1).write.csv(str(tmp_path / "log"))
    [path] = (tmp_path / "log").glob("part-*.csv")
    draft = draft_mapping([str(path)])
    assert (draft.keys["quote"], draft.keys["escape"], draft.keys["header"]) == ('"', "quote", "false")
    names = schema.replace(" string", "").split(", ")
    columns = {
        "user_id": "uid",
        "item_id": "sku",
        "log_time": "ts",
        "label": "click",
        "item_title": "title",
        "scene": {"constant": "0"},
    }
    mapping = Mapping.model_validate({**draft.settings(), "columns": columns, "names": names})
    found = []
    with path.open("rb") as file:
        for batch in read_records(file, mapping, str(path), FileCounts()):
            assert batch.broken == []
            found += batch.columns["title"].to_pylist()
    assert [text or None for text in found] == [trimmed(title) for title in TITLES]
