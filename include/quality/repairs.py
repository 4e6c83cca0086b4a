"""Repairs of rejected raw rows: corrected columns, kept beside the raw files, which stay as they were delivered.

A person writes a *repair* (YAML, see `Repair`): how the times are really written, what unknown scenes and labels mean, which
values stand for others. Applied to the rejected rows of a day, it gives for each row the columns that change; they are kept in
`_repairs/date=….jsonl.gz` under the raw root, and ingest puts them in place before it judges the row again. So a row keeps its
`event_id` and has one fate, and applying a repair twice changes nothing.

An entry names the row by file, number and a fingerprint of what came in: where the row has changed since, it has no effect.
Entries are added and replaced, never dropped: every repair reads the row as it came in, and what it changes is laid over
the changes of the earlier ones.
"""

import csv
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from include.errors import InvalidInputError, MissingDataError
from include.lake.lake import Lake
from include.quality.masking import masked, masked_raw
from include.quality.quarantine import SAMPLE_COLUMNS, rejected_rows
from include.raw.deliveries import Delivery, Raw, finish_interrupted, repairs_path
from include.raw.file_check import raw_digest, read_header
from include.raw.mapping import Times, read_model, time_parser
from include.raw.row_rules import BAD_LABEL, LATE, MALFORMED, UNKNOWN_SCENE, UNPARSABLE_TIME
from include.schemas import DEEP_FEATURES, RAW_COLUMNS

REPAIRS_DDL = (
    "source_file string, source_row bigint, fingerprint bigint, columns map<string,string>, numbers_only boolean, "
    "repair string"
)
"""Spark DDL of an entry. `numbers_only`: with the repair, every deep feature of the row is a number or blank."""

_OF_TIME = {UNPARSABLE_TIME, "timestamp_of_another_day", LATE}
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
        self._time = time_parser(repair.time) if repair.time else None

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
        if self._time and _OF_TIME & {*reasons} and (time := self._time(values.get("log_time", row["log_time"]))):
            values["log_time"] = time
        return values


def _trimmed(text: str) -> str:
    while text != (text := text.strip().strip(_INVISIBLE)):
        pass
    return text


def repair_day(lake: Lake, day: date, repair: Repair, name: str, reason: str | None = None) -> Outcome:
    """Add the repair of the day's rejected rows (of those rejected for `reason`) to the day's repairs.

    Rows with a wrong number of fields have no columns to repair. Raises `InvalidInputError` for a day whose quarantine was
    written without fingerprints.
    """
    raw = Raw()
    outcome = Outcome()
    repairer = Repairer(repair)
    finish_interrupted(raw)
    digest = raw_digest(day)
    entries = read_entries(raw, day)
    added: dict[Key, bytes] = {}
    for row in rejected_rows(lake, day, SAMPLE_COLUMNS, "ctr quarantine --replay"):
        if reason is not None and reason not in row["reasons"]:
            continue
        outcome.rejected += 1
        original = None if MALFORMED in row["reasons"] else raw_columns(row["source_file"], row["raw"])
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
            added[key] = _line(key, columns, original, name)
    if added:
        _write(raw, day, entries | added, digest)
    return outcome


def raw_columns(source_file: str, raw: str) -> dict[str, str] | None:
    """Return all raw columns of a quarantined row as text, as they came in; None where they cannot be read.

    `raw` is JSON of the columns or, where a deep feature is no number, the record as it stands in its file.
    """
    try:
        columns = json.loads(raw, parse_float=str, parse_int=str)
    except ValueError:
        columns = None
    if not isinstance(columns, dict):
        csv.field_size_limit(1 << 30)
        fields = next(iter(csv.reader(io.StringIO(raw, newline=""))), [])
        names = _header_of(source_file)
        if len(fields) != len(names):
            return None
        columns = dict(zip(names, fields, strict=True))
    return {name: str(columns.get(name) or "") for name in RAW_COLUMNS}


@lru_cache(maxsize=1024)
def _header_of(source_file: str) -> tuple[str, ...]:
    try:
        return read_header(source_file)
    except FileNotFoundError:
        return ()


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


def _line(key: Key, columns: dict[str, str], original: dict[str, str], name: str) -> bytes:
    row = original | columns
    entry = {
        "source_file": key[0],
        "source_row": key[1],
        "fingerprint": key[2],
        "columns": columns,
        "numbers_only": all(is_number(row[column]) for column in DEEP_FEATURES),
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
