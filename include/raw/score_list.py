"""A list of impressions that were never logged, to be scored: which user would see which item, in which scene.

It is read as the raw logs are, by their mapping (`CTR_RAW_MAPPING`): an id, a null or a number means in it what it means
in the log. Its columns have the mapping's names of them or, all of them, the project's; only user, item and scene must be
there. Where it says nothing of an item's text, the latest in the lake is used, and where it gives no time, noon of the day.
"""

import hashlib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include.errors import InvalidInputError
from include.lake.lake import Lake
from include.plural import counted
from include.raw import row_rules as rules
from include.raw.list_layout import Layout, list_layout
from include.raw.raw_mapping import raw_mapping
from include.raw.reading.files import read_records
from include.raw.reading.records import FileCounts
from include.raw.reading.rows import RawRows, raw_rows
from include.raw.reading.rules import Limits, reasons
from include.raw.reading.streams import DAMAGE
from include.raw.reading.values import whole_ids
from include.schemas import DEEP_FEATURES, ENTITY_COLUMNS, RAW_TEXT_COLUMNS
from include.settings import get_settings

_LISTS = pa.list_(pa.string())
SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("log_ts", pa.timestamp("us", "UTC")),
        ("label", pa.int8()),
        ("scene", pa.string()),
        *((name, _LISTS) for name in ENTITY_COLUMNS.values()),
        ("item_title", pa.string()),
        *((name, pa.float64()) for name in DEEP_FEATURES),
    ]
)
"""The columns of `logs`. `event_id` ends with the place of a row in the list, from 0; `label` is null."""

_RULES = (
    rules.NO_USER,
    rules.NO_ITEM,
    rules.UNKNOWN_SCENE,
    rules.UNPARSABLE_TIME,
    rules.ANOTHER_DAY,
    rules.NOT_AN_INTEGER,
    rules.NOT_A_NUMBER,
    rules.FIELD_TOO_LONG,
)
"""The rules of a raw row that a listed one must keep, too."""
_COLUMNS = {
    rules.NO_USER: "user_id",
    rules.NO_ITEM: "item_id",
    rules.UNKNOWN_SCENE: "scene",
    rules.UNPARSABLE_TIME: "log_time",
    rules.ANOTHER_DAY: "log_time",
}
"""Rules of one column; those of several are named by the first wrong value."""


@dataclass(frozen=True)
class ScoreList:
    """The rows of a list, of `SCHEMA`, in its order, and the columns of the file that were not read."""

    rows: pa.Table
    ignored: tuple[str, ...] = ()


def read_list(path: Path, day: date) -> ScoreList:
    """Return a file's rows as the mapping of the raw logs reads them: delimited text, JSON lines, Parquet or ORC.

    Raises `InvalidInputError` that names the file, the columns and the first row (from 1) of every fault: a list is read
    completely or not at all.
    """
    settings = get_settings()
    counts = FileCounts()
    batches = []
    try:
        with path.open("rb") as file:
            layout = list_layout(file, str(path), raw_mapping())
            faults = _Faults(
                layout, Limits(settings.scenes, settings.max_field_bytes, settings.earliest_day, day, day, day)
            )
            for records in read_records(file, layout.mapping, str(path), counts):
                for record in records.broken:
                    faults.add_broken(record.line, record.fault)
                if len(records.numbers):
                    rows = raw_rows(records, layout.mapping, settings.entity_separators)
                    faults.add(rows)
                    batches.append(_typed(rows, day))
    except (FileNotFoundError, IsADirectoryError):
        raise InvalidInputError(f"There is no file {path}: --list names a file of users, items and scenes.") from None
    except DAMAGE as error:
        raise InvalidInputError(f"{path} cannot be read to its end: {error}. Write the list again.") from None
    if not counts.records:
        raise InvalidInputError(f"{path} holds no row: there is nothing to score.")
    if problems := faults.messages(counts.records):
        raise InvalidInputError("\n".join(f"{path}: {problem}" for problem in [*problems, "nothing was scored."]))
    return ScoreList(pa.Table.from_batches(batches, SCHEMA), layout.ignored)


def put_list(lake: Lake, table: pa.Table) -> str:
    """Store a list in the lake and return its folder there, which is named by its content: the same list is stored once."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    data = sink.getvalue().to_pybytes()
    folder = f"_lists/{hashlib.sha256(data).hexdigest()[:16]}"
    if not lake.fs.exists(lake.path(f"{folder}/list.parquet")):
        lake.write_bytes(f"{folder}/list.parquet", data)
    return folder


def rows_path(folder: str, day: date) -> str:
    """Return the folder in the lake of the list's rows with the features of a day."""
    return f"{folder}/rows/dt={day}"


def _typed(rows: RawRows, day: date) -> pa.RecordBatch:
    """Return raw rows in the columns of `logs`; a row without a time is at noon of the day."""
    length = len(rows.numbers)
    noon = np.datetime64(f"{day}T12:00:00", "us")
    moments = np.where(np.isnat(rows.moments), noon, rows.moments)
    columns: dict[str, pa.Array] = {
        **{column: pa.array([[]] * length, _LISTS) for column in ENTITY_COLUMNS.values()},
        **rows.log_columns(),
        "event_id": pa.array([f"list#{number:012d}" for number in rows.numbers]),
        "log_ts": pa.array(moments).cast(pa.timestamp("us", "UTC")),
        "label": pa.nulls(length, pa.int8()),
    }
    arrays = [columns.get(column.name, pa.nulls(length, column.type)) for column in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


class _Faults:
    """Counts the rows that break a rule, and keeps the first of each rule."""

    def __init__(self, layout: Layout, limits: Limits) -> None:
        self._layout = layout
        self._limits = limits
        self._counts: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def add_broken(self, line: int, fault: str) -> None:
        """Add a record that has no columns."""
        hint = ' (`quote: ""` in the mapping, where quotes mean nothing)' if "quote" in fault else ""
        self._add("cannot be read", f"line {line}: {fault}{hint}")

    def add(self, rows: RawRows) -> None:
        """Add the rows of a batch that break a rule."""
        for place, broken in sorted(reasons(rows, self._limits, _RULES).items()):
            for rule in broken:
                column = _COLUMNS.get(rule)
                what = f"have a wrong '{self._layout.source(column)}'" if column else f"are rejected by the rule {rule}"
                first = "" if what in self._first else self._explained(rows, place, rule)
                self._add(what, first)

    def messages(self, records: int) -> list[str]:
        """Return a sentence for each rule that is broken."""
        return [
            f"{count:,} of {records:,} rows {what}, the first one in {self._first[what]}"
            for what, count in self._counts.items()
        ]

    def _add(self, what: str, first: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1
        self._first.setdefault(what, f"{first}.")

    def _explained(self, rows: RawRows, place: int, rule: str) -> str:
        name = _COLUMNS.get(rule) or _first_wrong(rows, place, rule)
        value = rows.original(place).get(name, "").strip()
        found = f"'{value[:80]}'{'…' if len(value) > 80 else ''}"
        if value and name in get_settings().sensitive_columns:
            found = f"a value of {counted(len(value), 'character')}"  # which an error must not show
        of_column = "" if rule in _COLUMNS else f" in '{self._layout.source(name)}'"
        return f"row {rows.numbers[place] + 1}: expected {self._expected(rule)}{of_column}, found {found}"

    def _expected(self, rule: str) -> str:
        times = self._layout.mapping.time
        return {
            rules.UNKNOWN_SCENE: f"a scene of the log ({', '.join(self._limits.scenes)})",
            rules.UNPARSABLE_TIME: f"a time ({' or '.join(times.formats)}), or none",
            rules.ANOTHER_DAY: f"a time of {self._limits.day} ({times.days_in}), or none",
            rules.NOT_AN_INTEGER: "a whole number, as 'ids: integer' in the mapping says,",
            rules.NOT_A_NUMBER: f"a finite number with the decimal mark '{self._layout.mapping.decimal}'",
            rules.FIELD_TOO_LONG: f"at most {self._limits.max_field_bytes:,} bytes (CTR_MAX_FIELD_BYTES)",
        }.get(rule, "a value")


def _first_wrong(rows: RawRows, place: int, rule: str) -> str:
    """Return the column of a row that breaks a rule of several columns: the first one, of too long fields the longest."""
    values = rows.original(place)
    if rule == rules.NOT_AN_INTEGER:
        names = ("user_id", "item_id")
        return next(name for name in names if whole_ids(pa.array([values.get(name, "").strip()]))[1][0])
    if rule == rules.NOT_A_NUMBER:
        return next(
            name for name, column in rows.deep.items() if values.get(name, "").strip() and not column[place].is_valid
        )
    lengths = {name: len(values.get(name, "").encode()) for name in RAW_TEXT_COLUMNS}
    return max(lengths, key=lengths.__getitem__)
