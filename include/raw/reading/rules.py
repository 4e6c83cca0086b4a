"""The conditions of `include/raw/row_rules.py`, over a batch of raw rows."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.calendar import ONE_DAY
from include.raw import row_rules as names
from include.raw.reading.rows import RawRows
from include.raw.reading.values import Mask, blank, mask_of
from include.schemas import RAW_TEXT_COLUMNS


@dataclass(frozen=True)
class Limits:
    """What rows are held to.

    Those of `day` itself are accepted, and those from `routed` (the day, where late events are rejected); from `oldest` on they
    are called late. Without a day any time from `earliest` to a day ahead of the clock is accepted.
    """

    scenes: tuple[str, ...]
    max_field_bytes: int
    earliest: date
    day: date | None = None
    oldest: date | None = None
    routed: date | None = None


Condition = Callable[[RawRows, Limits], Mask]


def _absent(column: str) -> Condition:
    return lambda rows, _: blank(rows.text[column])


def _no_time(rows: RawRows, _: Limits) -> Mask:
    if not pa.types.is_string(rows.came["log_time"].type):
        return mask_of(pc.is_null(rows.came["log_time"]))
    return blank(pc.utf8_trim_whitespace(rows.came["log_time"]))


def _outside(column: str, values: Callable[[Limits], tuple[str, ...]]) -> Condition:
    return lambda rows, limits: ~mask_of(pc.is_in(rows.text[column], pa.array(values(limits), pa.string())))


def _before(rows: RawRows, day: date | None) -> Mask:
    return rows.moments < np.datetime64(day, "us")


def _of_another_day(rows: RawRows, limits: Limits) -> Mask:
    if limits.day is None:
        return np.zeros(len(rows.numbers), bool)
    return (rows.moments >= np.datetime64(limits.day + ONE_DAY, "us")) | _before(rows, limits.oldest)


def _late(rows: RawRows, limits: Limits) -> Mask:
    if limits.day is None:
        return np.zeros(len(rows.numbers), bool)
    return ~_before(rows, limits.oldest) & _before(rows, limits.routed)


def _out_of_range(rows: RawRows, limits: Limits) -> Mask:
    if limits.day is not None:  # then another rule is narrower
        return np.zeros(len(rows.numbers), bool)
    latest = (datetime.now(UTC) + 2 * ONE_DAY).date()
    return _before(rows, limits.earliest) | (rows.moments >= np.datetime64(latest, "us"))


def _too_long(rows: RawRows, limits: Limits) -> Mask:
    found = np.zeros(len(rows.numbers), bool)
    for name in RAW_TEXT_COLUMNS:
        column = rows.came.get(name)
        if column is None:
            continue
        if pa.types.is_list(column.type):
            longest = pc.max(pc.binary_length(pc.list_flatten(column))).as_py() or 0
            if longest > limits.max_field_bytes:
                lengths = [
                    max((len(v.encode()) for v in values or () if v), default=0) for values in column.to_pylist()
                ]
                found |= np.array(lengths) > limits.max_field_bytes
        elif pa.types.is_string(column.type):
            found |= mask_of(pc.greater(pc.binary_length(column), limits.max_field_bytes))
    return found


CONDITIONS: dict[str, Condition] = {
    names.NO_USER: _absent("user_id"),
    names.NO_ITEM: _absent("item_id"),
    names.NO_TIME: _no_time,
    names.BAD_LABEL: _outside("label", lambda _: ("0", "1")),
    names.UNKNOWN_SCENE: _outside("scene", lambda limits: limits.scenes),
    names.UNPARSABLE_TIME: lambda rows, limits: np.isnat(rows.moments) & ~_no_time(rows, limits),
    names.ANOTHER_DAY: _of_another_day,
    names.OUT_OF_RANGE: _out_of_range,
    names.LATE: _late,
    names.NOT_AN_INTEGER: lambda rows, _: rows.wrong_ids,
    names.FIELD_TOO_LONG: _too_long,
    names.NOT_A_NUMBER: lambda rows, _: rows.wrong_numbers,
}
"""Of every rule that looks at the values of one row; the others are found as records are read, or rows compared."""

WITHOUT_A_DAY = (names.NO_TIME, names.UNPARSABLE_TIME, names.OUT_OF_RANGE)
"""Reasons for which a row belongs to no day: `ctr import` cannot put it into one."""


def reasons(rows: RawRows, limits: Limits, chosen: tuple[str, ...] = tuple(CONDITIONS)) -> dict[int, list[str]]:
    """Return the reasons of the rows that break a rule, by their place in the batch."""
    found: dict[int, list[str]] = {}
    for name in chosen:
        for place in np.flatnonzero(CONDITIONS[name](rows, limits)):
            found.setdefault(int(place), []).append(name)
    return found
