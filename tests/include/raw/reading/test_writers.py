"""Tables of any strings, as common writers write them by default, through the mapping that `ctr map` drafts.

Every row comes back equal, or is rejected; a file that can be read in two ways is undecided, and equal once that is filled in.
"""

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from budget import examples
from hypothesis import event, given
from hypothesis import strategies as st

from include.errors import InvalidInputError
from include.mapping.mapping import Mapping, read_mapping
from include.raw.draft_mapping import FILL_IN, Draft, draft_mapping
from include.raw.drafting.document import draft_text
from include.raw.reading.files import read_records
from include.raw.reading.records import FileCounts
from include.raw.reading.rows import raw_rows
from include.settings import get_settings

Row = tuple[str | None, ...]
NAMES = ("uid", "sku", "ts", "click", "title")
COLUMNS = {
    "user_id": "uid",
    "item_id": "sku",
    "log_time": "ts",
    "label": "click",
    "item_title": "title",
    "scene": {"constant": "0"},
}

PIECES = [
    '"', '""', "'", "\\", "\\\\", '\\"', "\\N", "\\n", "\n", "\r", "\r\n", "\t", ",", ";", "|", "\x01", "\0", "NULL", "nan",
    "a", "é", "中", "😀", " ", "#", "0", "1.5", "\u2028", "\x85", "\ufeff", '","', "\\,", "[", "{", "2023-07-17 00:00:00",
]  # fmt: skip
nasty = st.lists(
    st.one_of(st.sampled_from(PIECES), st.text(st.characters(exclude_categories=["Cs"]), max_size=4)), max_size=5
).map("".join)
tables = st.lists(st.tuples(nasty, nasty, st.sampled_from("01"), st.none() | nasty), min_size=1, max_size=12).map(
    lambda rows: [
        (f"u{user}", f"i{item}", f"2023-07-17 00:00:{at:02}", label, title)
        for at, (user, item, label, title) in enumerate(rows)
    ]
)


def pandas_csv(rows: Sequence[Row], path: Path) -> None:
    pd.DataFrame(rows, columns=NAMES).to_csv(path)


def pandas_tsv(rows: Sequence[Row], path: Path) -> None:
    pd.DataFrame(rows, columns=NAMES).to_csv(path, sep="\t", index=False)


def excel_csv(rows: Sequence[Row], path: Path) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([NAMES, *rows])
    path.write_bytes(text.getvalue().encode("utf-8-sig"))


def quoted_csv(rows: Sequence[Row], path: Path) -> None:
    pd.DataFrame(rows, columns=NAMES).to_csv(path, index=False, quoting=csv.QUOTE_ALL)


def duckdb_csv(rows: Sequence[Row], path: Path) -> None:
    frame = pd.DataFrame(rows, columns=NAMES, dtype=object)  # noqa: F841, DuckDB finds it by its name
    with duckdb.connect() as connection:
        connection.sql("select * from frame").write_csv(str(path))


def mysql_outfile(rows: Sequence[Row], path: Path) -> None:
    """Write as `SELECT … INTO OUTFILE` does: https://dev.mysql.com/doc/refman/8.0/en/load-data.html."""
    path.write_bytes("".join("\t".join(map(_mysql_value, row)) + "\n" for row in rows).encode())


def _mysql_value(value: str | None) -> str:
    return "\\N" if value is None else re.sub(r"[\\\t\n]", r"\\\g<0>", value).replace("\0", "\\0")


def postgres_copy(rows: Sequence[Row], path: Path) -> None:
    """Write as `COPY … TO` does; PostgreSQL's text has no NUL."""
    path.write_bytes("".join("\t".join(map(_postgres_value, row)) + "\n" for row in rows).encode())


def _postgres_value(value: str | None) -> str:
    escapes = {"\\": "\\\\", "\b": "\\b", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return "\\N" if value is None else "".join(escapes.get(c, c) for c in value if c not in "\0\f\v")


Write = Callable[[Sequence[Row], Path], None]
RFC = ('"', "")
ESCAPED = ("", "\\")
WRITERS: dict[str, tuple[Write, tuple[str, str], bool]] = {
    "pandas": (pandas_csv, RFC, True),
    "pandas with tabs": (pandas_tsv, RFC, True),
    "Excel": (excel_csv, RFC, True),
    "all quoted": (quoted_csv, RFC, True),
    "DuckDB": (duckdb_csv, RFC, True),
    "MySQL": (mysql_outfile, ESCAPED, False),
    "PostgreSQL": (postgres_copy, ESCAPED, False),
}
"""The function, the quote and escape that it uses, and whether it writes a header."""


def filled_in(draft: Draft, style: tuple[str, str], has_header: bool) -> Mapping:
    """Return what a person makes of a draft who knows how the file was written."""
    settings = draft.settings()
    if {"quote", "escape"} & {*draft.undecided}:
        settings |= dict(zip(("quote", "escape"), style, strict=True))
    settings["columns"] = COLUMNS
    if not has_header:
        assert settings["header"] == "false"
        settings["names"] = list(NAMES)
    settings.setdefault("time", {"formats": ["iso8601"]})
    return Mapping.model_validate(settings)


def read_back(path: Path, mapping: Mapping) -> tuple[list[Row], int]:
    """Return the rows that come in, and the number of those rejected."""
    rows: list[Row] = []
    broken = 0
    with path.open("rb") as file:
        for batch in read_records(file, mapping, str(path), FileCounts()):
            broken += len(batch.broken)
            came = raw_rows(batch, mapping, get_settings().entity_separators).came
            columns: list[Any] = [
                came[name].to_pylist() for name in ("user_id", "item_id", "log_time", "label", "item_title")
            ]
            rows += zip(*columns, strict=True)
    return rows, broken


def expected(rows: Sequence[Row], mapping: Mapping) -> list[Row]:
    """Return the rows with what the mapping calls a null, or no writer tells from one, as null.

    A carriage return that ends an unquoted last value is one of a line end, which a draft notes.
    """
    nulls = {None, "", *mapping.nulls}
    ended = [(*row[:-1], row[-1] and row[-1].removesuffix("\r")) for row in rows]
    return [tuple(None if value in nulls else value for value in row) for row in ended]


def is_part_of(some: list[Row], rows: list[Row]) -> bool:
    left = iter(rows)
    return all(row in left for row in some)


@pytest.mark.parametrize("writer", WRITERS)
@examples(60)
@given(rows=tables)
def test_a_table_comes_back_equal_or_is_rejected(
    tmp_path_factory: pytest.TempPathFactory, writer: str, rows: list[Row]
):
    write, style, has_header = WRITERS[writer]
    path = tmp_path_factory.mktemp("log") / "log"
    write(rows, path)
    try:
        draft = draft_mapping([str(path)])
    except InvalidInputError as error:
        event(f"refused: {type(error).__name__}")
        return
    event(f"undecided: {[key for key in draft.undecided if 'columns' not in key]}")
    mapping = filled_in(draft, style, has_header)
    found, broken = read_back(path, mapping)
    found = expected(found, mapping)
    if writer == "PostgreSQL":
        rows = [tuple(value and re.sub("[\0\f\v]", "", value) for value in row) for row in rows]
    wanted = expected(rows, mapping)
    assert (found == wanted) or (broken and is_part_of(found, wanted)), draft_text(draft)


@examples(60)
@given(rows=tables)
def test_a_draft_is_a_mapping_or_refused_by_its_undecided_keys(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
):
    folder = tmp_path_factory.mktemp("log")
    pandas_csv(rows, folder / "log")
    try:
        draft = draft_mapping([str(folder / "log")])
    except InvalidInputError:
        return
    (folder / "draft.yaml").write_text(draft_text(draft), encoding="utf-8")
    if not draft.undecided:
        assert read_mapping(str(folder / "draft.yaml")) == Mapping.model_validate(draft.settings())
        return
    with pytest.raises(InvalidInputError) as refused:
        read_mapping(str(folder / "draft.yaml"))
    for key in draft.undecided:
        assert key.split(".")[-1] in str(refused.value)
    assert FILL_IN in draft_text(draft)
