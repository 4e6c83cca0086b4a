"""Repairs of rejected raw rows: corrected columns, kept beside the raw files, which stay as they were delivered.

A person writes a *repair* (YAML, see `Repair`): how the times are really written, what unknown scenes and labels mean, which
values stand for others. Applied to the rejected rows of a day, it gives for each row the columns that change; they are kept in
`_repairs/date=….jsonl.gz` under the raw root, and ingest puts them in place before it judges the row again. So a row keeps its
`event_id` and has one fate, and applying a repair twice changes nothing.

An entry names the row by file, number and a fingerprint of what came in: where the row has changed since, it has no effect.
Entries are added and replaced, never dropped: every repair reads the row as it came in, and what it changes is laid over
the changes of the earlier ones.
"""

import json
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from include.errors import InvalidInputError, MissingDataError
from include.lake.lake import Lake
from include.mapping.mapping import Times, read_model
from include.quality.masking import masked, masked_raw
from include.quality.quarantine import SAMPLE_COLUMNS, rejected_rows
from include.raw.deliveries import Delivery, Raw, finish_interrupted, repairs_path
from include.raw.file_check import raw_digest
from include.raw.raw_mapping import raw_mapping
from include.raw.reading.day_rows import Repairs
from include.raw.reading.times import parse_times, time_text
from include.raw.row_rules import BAD_LABEL, DUPLICATE, LATE, MALFORMED, NOT_OF_ENCODING, UNKNOWN_SCENE, UNPARSABLE_TIME
from include.schemas import DEEP_FEATURES, RAW_COLUMNS

_OF_TIME = {UNPARSABLE_TIME, "timestamp_of_another_day", LATE}
_NO_COLUMNS = {MALFORMED, NOT_OF_ENCODING, DUPLICATE}
_ROWS_AT_ONCE = 5_000
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060\x00"
_NUMBER = re.compile(r"\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*)?", re.ASCII)
_EXAMPLE = (
    "write at least one of: time {formats, zone}, scenes, labels, values, fill, trim; docs/operations.md has an example"
)

Key = tuple[str, int, int]


class Repair(BaseModel):
    """What a repair file says; each part touches only rows that were rejected.

    `time` applies to rows rejected for their time, `scenes` and `labels` to rows rejected for those; `values` (exact values of
    any column), `fill` (for blanks) and `trim` (white space and invisible characters at both ends) to any rejected row.
    """

    model_config = ConfigDict(extra="forbid")

    description: str = ""
    time: Times | None = None
    scenes: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    fill: dict[str, str] = Field(default_factory=dict)
    trim: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _sound(self) -> "Repair":
        if not (self.time or self.scenes or self.labels or self.values or self.fill or self.trim):
            raise ValueError("repairs nothing")
        unknown = sorted({*self.values, *self.fill, *self.trim} - {*RAW_COLUMNS})
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is no column of the raw logs: {', '.join(RAW_COLUMNS[:10])}, …")
        written = [(name, new) for name, pairs in self.values.items() for new in pairs.values()]
        for name, new in (*written, *self.fill.items()):
            if name in DEEP_FEATURES and not is_number(new):
                raise ValueError(f"{name}: '{new}' is no number; leave it empty for none")
        return self


@dataclass
class Outcome:
    """What a repair did to the rejected rows of a day."""

    rejected: int = 0
    repaired: int = 0
    malformed: int = 0
    columns: Counter[str] = field(default_factory=Counter)


def read_repair(path: str) -> Repair:
    """Return a repair from a YAML file; raises an error that names the wrong field."""
    file = Path(path)
    if not file.is_file():
        raise MissingDataError(f"There is no repair {path}: expected a YAML file. Next: {_EXAMPLE}.")
    return read_model(file, Repair, _EXAMPLE)


def is_number(text: str) -> bool:
    """Return whether a text is a valid deep feature: a plain finite number, or blank."""
    return _NUMBER.fullmatch(text) is not None


class Repairer:
    """Finds the columns of a rejected row that a repair changes."""

    def __init__(self, repair: Repair) -> None:
        self._repair = repair
        self._times = _in_days_of_the_log(repair.time) if repair.time else None
        self._known: dict[str, str | None] = {}

    def read_times(self, texts: Iterable[str]) -> None:
        """Read many times at once, which is much faster than each when its row comes."""
        new = list({*texts} - self._known.keys())
        if self._times and new:
            moments = parse_times(pa.array(new, pa.string()), self._times).moments
            self._known |= {
                text: None if np.isnat(moment) else time_text(moment) for text, moment in zip(new, moments, strict=True)
            }

    def changes(self, row: dict[str, str], reasons: Collection[str]) -> dict[str, str]:
        """Return the values by column that the repair gives `row`: all raw columns as text, blank where there is none.

        A value that the repair names is returned even where the row has it already: it undoes an earlier repair.
        """
        trimmed = {name: text for name in self._repair.trim if (text := _trimmed(row[name])) != row[name]}
        named = self._named(row | trimmed, reasons)
        now = row | trimmed | named
        filled = {name: value for name, value in self._repair.fill.items() if value and not now[name].strip()}
        changes = trimmed | named | filled
        return {name: value for name, value in changes.items() if name not in DEEP_FEATURES or is_number(value)}

    def _named(self, row: dict[str, str], reasons: Collection[str]) -> dict[str, str]:
        """Return the values that the repair puts in place of others: exact values, scenes, labels and times."""
        values = {name: pairs[row[name]] for name, pairs in self._repair.values.items() if row[name] in pairs}
        for name, reason, pairs in (
            ("scene", UNKNOWN_SCENE, self._repair.scenes),
            ("label", BAD_LABEL, self._repair.labels),
        ):
            text = values.get(name, row[name]).strip()
            if reason in reasons and text in pairs:
                values[name] = pairs[text]
        if self._times and _OF_TIME & {*reasons}:
            text = values.get("log_time", row["log_time"])
            self.read_times([text])
            if time := self._known[text]:
                values["log_time"] = time
        return values


def _in_days_of_the_log(times: Times) -> Times:
    """Return times that are read into the zone of the log's days, unless the repair names another."""
    return times.model_copy(update={"day_zone": times.day_zone or raw_mapping().time.days_in})


def _trimmed(text: str) -> str:
    while text != (text := text.strip().strip(_INVISIBLE)):
        pass
    return text


def repair_day(lake: Lake, day: date, repair: Repair, name: str, reason: str | None = None) -> Outcome:
    """Add the repair of the day's rejected rows (of those rejected for `reason`) to the day's repairs.

    Records without columns, and duplicates, have nothing to repair. Raises `InvalidInputError` for a day whose quarantine was
    written without fingerprints.
    """
    raw = Raw()
    outcome = Outcome()
    repairer = Repairer(repair)
    finish_interrupted(raw)
    digest = raw_digest(day)
    entries = read_entries(raw, day)
    added: dict[Key, bytes] = {}
    for row, original in _with_columns(rejected_rows(lake, day, SAMPLE_COLUMNS, "ctr quarantine --replay"), repairer):
        if reason is not None and reason not in row["reasons"]:
            continue
        outcome.rejected += 1
        if original is None:
            outcome.malformed += 1
            continue
        if row["fingerprint"] is None:
            raise InvalidInputError(
                f"quarantine of {day} was written by an earlier version, which did not identify its rows. "
                f"Next: `ctr quarantine --day {day} --replay` without a mapping writes it again; then repeat this command."
            )
        key = (row["source_file"], row["source_row"], row["fingerprint"])
        before: dict[str, str] = json.loads(entries[key])["columns"] if key in entries else {}
        columns = before | repairer.changes(original, row["reasons"])
        if changed := [column for column in columns if columns[column] != (original | before)[column]]:
            outcome.repaired += 1
            outcome.columns.update(changed)
            columns = {column: text for column, text in columns.items() if text != original[column]}
            added[key] = _line(key, columns, name)
    if added:
        _write(raw, day, entries | added, digest)
    return outcome


def _with_columns(
    rows: Iterator[dict[str, Any]], repairer: Repairer
) -> Iterator[tuple[dict[str, Any], dict[str, str] | None]]:
    """Yield rejected rows with their columns; None for a record without columns, or one that only a comparison rejected."""
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        found = [None if _NO_COLUMNS & {*row["reasons"]} else raw_columns(row["raw"]) for row in batch]
        repairer.read_times(columns["log_time"] for columns in found if columns)
        yield from zip(batch, found, strict=True)


def raw_columns(raw: str) -> dict[str, str] | None:
    """Return all raw columns of a quarantined row as text, as they came in; None for a record that has no columns."""
    try:
        columns = json.loads(raw, parse_float=str, parse_int=str)
    except ValueError:
        return None
    return {name: str(columns.get(name) or "") for name in RAW_COLUMNS} if isinstance(columns, dict) else None


def read_repairs(raw: Raw, day: date) -> Repairs:
    """Return the corrected columns of the rows of a day."""
    found: Repairs = {}
    for (file, row, fingerprint), columns, _ in _lines(raw, day):
        found.setdefault((file, row), {})[fingerprint] = columns
    return found


def read_entries(raw: Raw, day: date) -> dict[Key, bytes]:
    """Return the repairs of a day as they are stored: a line of JSON for each row."""
    return {key: line for key, _, line in _lines(raw, day)}


def applied_columns(raw: Raw, day: date, keys: Collection[Key]) -> dict[Key, dict[str, str]]:
    """Return the repaired columns of those of the rows of a day that have any."""
    chosen = {*keys}
    return {key: columns for key, columns, _ in (_lines(raw, day) if chosen else ()) if key in chosen}


def _lines(raw: Raw, day: date) -> Iterator[tuple[Key, dict[str, str], bytes]]:
    path = raw.full(repairs_path(day))
    if not raw.fs.exists(path):
        return
    try:
        with raw.fs.open(path, "rb", compression="gzip") as file:
            for line in file:
                entry = json.loads(line)
                yield (entry["source_file"], entry["source_row"], entry["fingerprint"]), entry["columns"], line
    except (KeyError, ValueError, EOFError, OSError, zlib.error) as error:
        raise InvalidInputError(
            f"The repairs of {day} ({raw.url}/{repairs_path(day)}) cannot be read: expected gzipped lines of JSON, "
            f"found: {error}. Restore the file, or remove it and repair the day again."
        ) from error


def _line(key: Key, columns: dict[str, str], name: str) -> bytes:
    entry = {
        "source_file": key[0],
        "source_row": key[1],
        "fingerprint": key[2],
        "columns": columns,
        "repair": name,
    }
    return json.dumps(entry).encode() + b"\n"


def _write(raw: Raw, day: date, entries: dict[Key, bytes], digest: str) -> None:
    """Replace the repairs of a day; raises `InvalidInputError` where its digest has changed since they were read."""
    with Delivery(raw) as delivery:
        with delivery.open(repairs_path(day)) as file:
            for key in sorted(entries):
                file.write(entries[key])
        if raw_digest(day) != digest:
            raise InvalidInputError(
                f"Raw files or repairs of {day} ({raw.url}/{repairs_path(day)}) have changed while its rows were repaired, "
                "perhaps by another replay of the day: expected them as they were read. Nothing was written; repeat the command."
            )


def masked_rejected(rows: list[dict[str, Any]], day: date) -> list[dict[str, Any]]:
    """Return sampled rows with sensitive columns masked; with the repaired columns, where a repair was not enough."""
    keys = [(row["source_file"], row["source_row"], row["fingerprint"]) for row in rows]
    repaired = applied_columns(Raw(), day, keys)
    samples = []
    for row, key in zip(rows, keys, strict=True):
        sample = {name: value for name, value in row.items() if name != "fingerprint"} | {"raw": masked_raw(row["raw"])}
        if repaired:
            columns = {name: masked(name, value) for name, value in repaired.get(key, {}).items()}
            sample["repaired"] = json.dumps(columns, ensure_ascii=False) if columns else None
        samples.append(sample)
    return samples
