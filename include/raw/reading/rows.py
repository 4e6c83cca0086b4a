"""Records of any log as raw rows: the project's columns, each value read by the mapping.

The one place that says what a row becomes, for the nightly run, `ctr import` and `ctr map`.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from include.mapping.mapping import Constant, Mapping
from include.raw.reading.records import Numbers, Records
from include.raw.reading.times import Moments, ParsedTimes, parse_times, time_text
from include.raw.reading.values import (
    Mask,
    blank,
    entities,
    entities_text,
    numbers,
    replaced,
    text_of,
    whole_ids,
    without_nulls,
)
from include.schemas import DEEP_FEATURES, ENTITY_COLUMNS, RAW_COLUMNS

_LABELS = {"true": "1", "false": "0", "1.0": "1", "0.0": "0"}
_SEED = 42
_DOUBLE = struct.Struct("<d").pack


@dataclass
class RawRows:
    """A batch of raw rows.

    `came` holds the values by raw column as they came in, null where there is none; `text` trimmed ids, label and scene, and the
    title; `entities` the sequences as lists; `deep` finite numbers or null. `wrong_ids` and `wrong_numbers` mark rows with a
    value that is neither blank nor what it should be; `moments` is NaT without a readable time.
    """

    numbers: Numbers
    came: dict[str, pa.Array]
    text: dict[str, pa.Array]
    times: ParsedTimes
    entities: dict[str, pa.Array]
    deep: dict[str, pa.Array]
    wrong_ids: Mask
    wrong_numbers: Mask
    event_ids: pa.Array | None = None

    @property
    def moments(self) -> Moments:
        """Wall-clock times in the zone of the log's days."""
        return self.times.moments

    def original(self, place: int) -> dict[str, str]:
        """Return the values of a row as they came in, by raw column; blank ones are left out."""
        return self.originals([place])[0]

    def originals(self, places: Sequence[int]) -> list[dict[str, str]]:
        """Return the same of several rows."""
        index = pa.array(places, pa.int64())
        columns = {name: text_of(column.take(index)).to_pylist() for name, column in self.came.items()}
        return [{name: values[row] for name, values in columns.items() if values[row]} for row in range(len(places))]

    def contents(self, places: Sequence[int]) -> list[tuple[dict[str, str], int]]:
        """Return `originals`, and a hash of each, the same as `xxhash64` of Spark over the raw columns."""
        index = pa.array(places, pa.int64())
        deep = {name: column.take(index).to_pylist() for name, column in self.deep.items()}
        return [
            (values, _fingerprint(values, {name: numbers_[row] for name, numbers_ in deep.items()}))
            for row, values in enumerate(self.originals(places))
        ]

    def log_columns(self) -> dict[str, pa.Array]:
        """Return those columns of `logs` that the log has; `label` is null where it is neither 0 nor 1, a blank title too."""
        columns = {name: self.text[name] for name in ("user_id", "item_id", "scene")}
        columns["log_ts"] = pa.array(self.moments).cast(pa.timestamp("us", "UTC"))
        columns |= {ENTITY_COLUMNS[name]: lists for name, lists in self.entities.items()}
        if "item_title" in self.text:
            title = pc.utf8_trim_whitespace(self.text["item_title"])
            columns["item_title"] = pc.if_else(pa.array(blank(title)), pa.scalar(None, pa.string()), title)
        label = self.text["label"]
        is_label = pc.is_in(label, pa.array(["0", "1"]))
        columns["label"] = pc.if_else(is_label, label, pa.scalar(None, pa.string())).cast(pa.int8())
        return columns | self.deep

    def canonical_rows(self, separators: str) -> Iterator[tuple[str, ...]]:
        """Yield the rows as a raw CSV file holds them, in the order of `RAW_COLUMNS`."""
        columns = [self._canonical(name, separators) for name in RAW_COLUMNS]
        return zip(*columns, strict=True)

    def _canonical(self, name: str, separators: str) -> list[str]:
        came = self.came.get(name)
        if name in self.text:
            return [value or "" for value in self.text[name].to_pylist()]
        if came is None:
            return [""] * len(self.numbers)
        if name == "log_time":
            return [
                text_ if np.isnat(moment) else time_text(moment)
                for moment, text_ in zip(self.moments, self._as_text(name), strict=True)
            ]
        if name in self.entities and pa.types.is_list(came.type):
            return [entities_text(values, separators) for values in self.entities[name].to_pylist()]
        if name in self.deep:
            values = zip(self.deep[name].to_pylist(), self._as_text(name), strict=True)
            return [came_ if number is None else repr(number) for number, came_ in values]
        return self._as_text(name)

    def _as_text(self, name: str) -> list[str]:
        return [value or "" for value in text_of(self.came[name]).to_pylist()]


def _fingerprint(values: dict[str, str], deep: dict[str, float | None]) -> int:
    digest = _SEED
    for name in RAW_COLUMNS:
        if name in values:
            number = deep.get(name)
            content = values[name].encode() if number is None else _DOUBLE(number)
            digest = xxhash.xxh64_intdigest(content, seed=digest)
    return signed(digest)


def signed(digest: int) -> int:
    """Return an unsigned hash of 64 bits as the signed number that Spark has."""
    return digest - (1 << 64) if digest >= 1 << 63 else digest


def raw_rows(records: Records, mapping: Mapping, separators: str) -> RawRows:
    """Return records as raw rows; nothing is rejected here (`include/raw/reading/rules.py`)."""
    length = len(records.numbers)
    came = {name: _came(records, mapping.columns.get(name), mapping.nulls, length) for name in RAW_COLUMNS}
    came = {name: column for name, column in came.items() if column is not None}
    text = {name: pc.utf8_trim_whitespace(text_of(came[name])) for name in ("user_id", "item_id", "label", "scene")}
    wrong_ids = np.zeros(length, bool)
    if mapping.ids == "integer":
        for name in ("user_id", "item_id"):
            text[name], wrong = whole_ids(text[name])
            wrong_ids |= wrong
    text["label"] = replaced(text["label"], mapping.labels)
    text["label"] = replaced(pc.utf8_lower(text["label"]), _LABELS) if not _is_clean(text["label"]) else text["label"]
    text["scene"] = replaced(text["scene"], mapping.scenes)
    if "item_title" in came:
        text["item_title"] = text_of(came["item_title"])
    wrong_numbers = np.zeros(length, bool)
    deep: dict[str, pa.Array] = {}
    for name in DEEP_FEATURES:
        if name in came:
            deep[name], wrong = numbers(came[name], mapping.decimal, mapping.thousands)
            wrong_numbers |= wrong
    return RawRows(
        numbers=records.numbers,
        came=came,
        text=text,
        times=parse_times(came["log_time"], mapping.time),
        entities={name: entities(came[name], separators) for name in ENTITY_COLUMNS if name in came},
        deep=deep,
        wrong_ids=wrong_ids,
        wrong_numbers=wrong_numbers,
        event_ids=text_of(records.columns[mapping.event_id]) if mapping.event_id in records.columns else None,
    )


def _is_clean(labels: pa.Array) -> bool:
    return bool(pc.all(pc.is_in(labels, pa.array(["0", "1"]))).as_py())


def _came(records: Records, source: str | Constant | None, nulls: Sequence[str], length: int) -> pa.Array | None:
    """Return the values of a raw column; None for a column that the log does not have."""
    if isinstance(source, Constant):
        return pa.repeat(source.constant, length) if source.constant else None
    if source is None or source not in records.columns:
        return None
    column = without_nulls(records.columns[source], list(nulls))
    if pa.types.is_floating(column.type):  # pandas writes what is missing as NaN
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column


def as_json(values: dict[str, Any]) -> str:
    """Return what came in of a row as the quarantine keeps it."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))
