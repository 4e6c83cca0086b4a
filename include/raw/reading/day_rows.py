"""The rows of a day's files as ingest takes them: typed, with the reasons of those that are rejected.

Runs in Spark's Python workers, one file at a time; needs no setting of the process: a `DayTask` says everything.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from include.errors import CtrError, UnavailableError
from include.mapping.file_pattern import REJECTS
from include.mapping.mapping import Mapping
from include.raw.deliveries import Raw
from include.raw.reading.files import read_records, read_rejects
from include.raw.reading.records import Broken, FileCounts, Numbers, Records
from include.raw.reading.rows import RawRows, as_json, raw_rows, signed
from include.raw.reading.rules import WITHOUT_A_DAY, Limits, reasons
from include.raw.row_rules import LATE
from include.schemas import DEEP_FEATURES, ENTITY_COLUMNS, RAW_COLUMNS

_LISTS = pa.list_(pa.string())
SCHEMA = pa.schema(
    [
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("log_ts", pa.timestamp("us", "UTC")),
        ("label", pa.int8()),
        ("scene", pa.string()),
        *((name, _LISTS) for name in ENTITY_COLUMNS.values()),
        ("item_title", pa.string()),
        *((name, pa.float64()) for name in DEEP_FEATURES),
        ("own_id", pa.string()),
        ("reasons", _LISTS),
        ("raw", pa.string()),
        ("fingerprint", pa.int64()),
        ("summary", pa.string()),
    ]
)
"""`own_id` is the event's id in the log itself, where it has one; `raw` and `fingerprint` are of rejected rows alone.

A row with a `summary`, JSON of a `FileSummary`, ends each file.
"""
DDL = (
    "source_file string, source_row bigint, user_id string, item_id string, log_ts timestamp, label tinyint, scene string, "
    + "".join(f"{name} array<string>, " for name in ENTITY_COLUMNS.values())
    + "item_title string, "
    + "".join(f"{name} double, " for name in DEEP_FEATURES)
    + "own_id string, reasons array<string>, raw string, fingerprint bigint, summary string"
)
"""The same for Spark."""

Repairs = dict[tuple[str, int], dict[int, dict[str, str]]]
"""Corrected columns by file and row, for the content with a fingerprint."""


@dataclass(frozen=True)
class DayTask:
    """What a worker needs to read files of a day; `canonical` is the mapping of rows that a repair has corrected."""

    raw_url: str
    mapping: Mapping
    canonical: Mapping
    limits: Limits
    separators: str
    repairs: Repairs = field(default_factory=dict)


@dataclass
class FileSummary:
    """What a file held, and what was odd about it.

    `repeated` and `skipped` count local times at a change of the clocks; `seconds` says whether any time has seconds;
    `repaired` counts rows that a repair corrected; `late_days` are the days of rejected late rows; `error` and `kind` say why
    the file could not be read.
    """

    file: str
    counts: FileCounts = field(default_factory=FileCounts)
    broken: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    skipped: int = 0
    seconds: bool = False
    repaired: int = 0
    late_days: set[str] = field(default_factory=set)
    error: str = ""
    kind: str = ""

    def as_json(self) -> str:
        """Return the summary as JSON, without what is nothing."""
        content = {**vars(self), **vars(self.counts)}
        content["late_days"] = sorted(self.late_days)
        return json.dumps({key: value for key, value in content.items() if key != "counts" and value})


def day_rows(task: DayTask, paths: list[str], chosen: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of files, each file ended by its summary; a file that cannot be read is one with an error.

    `paths` lie under the root of the raw logs; `chosen` gives, in its only column, the places of those to read here.
    """
    raw = Raw(task.raw_url)
    for place in (place for batch in chosen for place in batch.column(0).to_pylist()):
        path = paths[place]
        summary = FileSummary(path)
        try:
            yield from _file_rows(raw, path, task, summary)
        except (CtrError, UnavailableError) as error:
            summary.error, summary.kind = str(error), type(error).__name__
        yield _batch(1, {"source_file": [path], "summary": [summary.as_json()]})


def _file_rows(raw: Raw, path: str, task: DayTask, summary: FileSummary) -> Iterator[pa.RecordBatch]:
    day: date | None = task.limits.day
    label = f"Raw file {path.rsplit('/', 1)[-1]} of {day} ({raw.url}/{path})"
    with raw.fs.open(raw.full(path), "rb") as file:
        if path.endswith(REJECTS):
            records = read_rejects(file, label, summary.counts)
        else:
            records = read_records(file, task.mapping, label, summary.counts)
        for batch in records:
            if batch.broken:
                yield from _unreadable_rows(path, batch.broken, task, summary)
            if len(batch.numbers):
                yield from _judged_rows(path, batch, task, summary)


def _judged_rows(path: str, batch: Records, task: DayTask, summary: FileSummary) -> Iterator[pa.RecordBatch]:
    rows = raw_rows(batch, task.mapping, task.separators)
    summary.repeated += rows.times.repeated
    summary.skipped += rows.times.skipped
    summary.seconds = summary.seconds or bool(
        (rows.moments != rows.moments.astype("datetime64[m]"))[~np.isnat(rows.moments)].any()
    )
    found = reasons(rows, task.limits)
    late = [place for place, names in found.items() if LATE in names]
    summary.late_days.update(np.datetime_as_string(rows.moments[late], unit="D").tolist())
    repaired = _repairs_of(path, rows, task)
    typed = _typed_rows(path, rows, {place: why for place, why in found.items() if place not in repaired})
    if not repaired:
        yield typed
        return
    summary.repaired += len(repaired)
    yield typed.filter(pa.array(~np.isin(np.arange(len(rows.numbers)), list(repaired))))
    yield _repaired_rows(path, rows, repaired, task)


def _repairs_of(path: str, rows: RawRows, task: DayTask) -> dict[int, dict[str, str]]:
    """Return the corrected columns by place; a repair fits one content: a row that has changed since is not repaired."""
    if not task.repairs:
        return {}
    entries = {place: task.repairs.get((path, int(number)), {}) for place, number in enumerate(rows.numbers)}
    places = [place for place, by_content in entries.items() if by_content]
    prints = [content for _, content in rows.contents(places)] if places else []
    return {
        place: entries[place][content]
        for place, content in zip(places, prints, strict=True)
        if content in entries[place]
    }


def _repaired_rows(path: str, rows: RawRows, repaired: dict[int, dict[str, str]], task: DayTask) -> pa.RecordBatch:
    """Return rows with the columns of their repairs, judged again; what came in stays beside them."""
    canonical = list(rows.canonical_rows(task.separators))
    places = list(repaired)
    as_mapped = [dict(zip(RAW_COLUMNS, canonical[place], strict=True)) | repaired[place] for place in places]
    again = _of_canonical(rows.numbers[places], as_mapped, task)
    if rows.event_ids is not None:
        again.event_ids = rows.event_ids.take(pa.array(places))
    return _typed_rows(path, again, reasons(again, task.limits), _content(rows, places))


def _content(rows: RawRows, places: list[int]) -> list[tuple[str, int]]:
    """Return what came in of rows, and its fingerprint."""
    return [(as_json(values), fingerprint) for values, fingerprint in rows.contents(places)]


def _unreadable_rows(path: str, broken: list[Broken], task: DayTask, summary: FileSummary) -> Iterator[pa.RecordBatch]:
    """Yield records that have no columns, or that an import rejected; of these, a repair may correct the columns."""
    prints = {record.number: _fingerprint(record.text) for record in broken}
    repaired = {
        record.number: columns
        for record in broken
        if (columns := task.repairs.get((path, record.number), {}).get(prints[record.number])) and _columns(record)
    }
    left = [record for record in broken if record.number not in repaired]
    if left:
        summary.broken.update(record.reason for record in left)
        yield _broken_rows(path, left, prints)
    if chosen := [record for record in broken if record.number in repaired]:
        summary.repaired += len(chosen)
        as_read = [dict.fromkeys(RAW_COLUMNS, "") | _columns(record) | repaired[record.number] for record in chosen]
        again = _of_canonical(np.array([record.number for record in chosen], np.int64), as_read, task)
        came = [(record.text, prints[record.number]) for record in chosen]
        yield _typed_rows(path, again, reasons(again, task.limits), came)


def _columns(record: Broken) -> dict[str, str]:
    """Return the columns of a record that an import rejected for their values; none of another record."""
    try:
        columns = json.loads(record.text) if record.reason in WITHOUT_A_DAY else None
    except ValueError:
        return {}
    return columns if isinstance(columns, dict) else {}


def _fingerprint(text: str) -> int:
    return signed(xxhash.xxh64_intdigest(text.encode(), seed=42))


def _of_canonical(numbers: Numbers, rows: list[dict[str, str]], task: DayTask) -> RawRows:
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in RAW_COLUMNS}
    return raw_rows(Records(numbers, columns), task.canonical, task.separators)


def _typed_rows(
    path: str, rows: RawRows, found: dict[int, list[str]], came: list[tuple[str, int]] | None = None
) -> pa.RecordBatch:
    """Return rows in the form of `SCHEMA`; `came` gives what came in of each, and its fingerprint, where that differs."""
    length = len(rows.numbers)
    columns: dict[str, Any] = {
        "source_file": pa.repeat(path, length),
        "source_row": pa.array(rows.numbers),
        **{column: _no_lists(length) for column in ENTITY_COLUMNS.values()},
        **rows.log_columns(),
    }
    if rows.event_ids is not None:
        columns["own_id"] = rows.event_ids
    columns["reasons"] = _lists(found, length)
    if found:
        places = list(found)
        content = [came[place] for place in places] if came else _content(rows, places)
        kept = dict(zip(places, content, strict=True))
        columns["raw"] = _sparse({place: raw for place, (raw, _) in kept.items()}, length, pa.string())
        columns["fingerprint"] = _sparse({place: value for place, (_, value) in kept.items()}, length, pa.int64())
    return _batch(length, columns)


def _broken_rows(path: str, broken: list[Broken], prints: dict[int, int]) -> pa.RecordBatch:
    columns = {
        "source_file": [path] * len(broken),
        "source_row": [record.number for record in broken],
        "reasons": [[record.reason] for record in broken],
        "raw": [record.text for record in broken],
        "fingerprint": [prints[record.number] for record in broken],
    }
    return _batch(len(broken), columns)


def _sparse(values: dict[int, Any], length: int, kind: pa.DataType) -> pa.Array:
    return pa.array([values.get(place) for place in range(length)], kind)


def _lists(values: dict[int, list[str]], length: int) -> pa.Array:
    if not values:
        return _no_lists(length)
    return pa.array([values.get(place, []) for place in range(length)], _LISTS)


def _no_lists(length: int) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(np.zeros(length + 1, np.int32)), pa.array([], pa.string()))


def _batch(length: int, columns: dict[str, Any]) -> pa.RecordBatch:
    arrays = []
    for column in SCHEMA:
        values = columns.get(column.name)
        if values is None:
            arrays.append(pa.nulls(length, column.type))
        else:
            arrays.append(values if isinstance(values, pa.Array) else pa.array(values, column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
