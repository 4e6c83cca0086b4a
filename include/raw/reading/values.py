"""What becomes of the values of a column, a whole batch at once: nulls, ids, numbers, lists."""

import csv
import json
import re
from collections.abc import Mapping as Dictionary
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Mask = np.ndarray[Any, np.dtype[np.bool_]]
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
"""A number as a deep feature may be written, with the decimal point."""
_INTEGER = r"^[+-]?\d+(\.0*)?$"
_MOST_DIGITS = 400


def mask_of(column: pa.Array) -> Mask:
    """Return a Boolean column as a mask, null as false."""
    return np.asarray(column.fill_null(False).to_numpy(zero_copy_only=False), bool)


def text_of(column: pa.Array) -> pa.Array:
    """Return a column as text: a float in full, as `1.0`, a list as JSON."""
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_list(kind):
        return pa.array(
            [None if v is None else json.dumps(v, ensure_ascii=False) for v in column.to_pylist()], pa.string()
        )
    if pa.types.is_floating(kind):
        return pa.array([None if v is None else repr(v) for v in column.to_pylist()], pa.string())
    return column.cast(pa.string())


def without_nulls(column: pa.Array, spellings: list[str]) -> pa.Array:
    """Return a text column in which the spellings of a null are null."""
    if not spellings or not pa.types.is_string(column.type):
        return column
    is_null = pc.is_in(column, pa.array(spellings, pa.string()))
    return pc.if_else(is_null, pa.scalar(None, pa.string()), column) if pc.any(is_null).as_py() else column


def replaced(column: pa.Array, values: Dictionary[str, str]) -> pa.Array:
    """Return a text column with values replaced by others."""
    if not values:
        return column
    places = pc.index_in(column, pa.array(list(values), pa.string()))
    if places.null_count == len(places):
        return column
    return pc.coalesce(pa.array(list(values.values()), pa.string()).take(places), column)


def blank(column: pa.Array) -> Mask:
    """Return where a trimmed text column is null or empty."""
    return mask_of(pc.equal(pc.fill_null(column, ""), ""))


def whole_ids(column: pa.Array) -> tuple[pa.Array, Mask]:
    """Return trimmed ids as whole numbers without padding (`007.0` → `7`), and where one is neither that nor blank."""
    plain = mask_of(pc.match_substring_regex(column, _INTEGER)) | blank(column)
    ids = pc.replace_substring_regex(column, r"^\+?(-?)0*(\d+?)(\.0*)?$", r"\1\2")
    if plain.all():
        return ids, ~plain
    values = ids.to_pylist()
    wrong = np.zeros(len(values), bool)
    for place in np.flatnonzero(~plain):
        whole = _whole(values[place])
        wrong[place] = whole is None
        values[place] = values[place] if whole is None else whole
    return pa.array(values, pa.string()), wrong


def _whole(text: str) -> str | None:
    try:
        number = Decimal(text)
        if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS or number != number.to_integral_value():
            return None
        return str(int(number))
    except InvalidOperation:
        return None


def numbers(column: pa.Array, decimal: str, thousands: str) -> tuple[pa.Array, Mask]:
    """Return a column as float64, null for blank, and where it holds something that is not a finite number."""
    if pa.types.is_null(column.type):
        return column.cast(pa.float64()), np.zeros(len(column), bool)
    if not pa.types.is_string(column.type):
        values = column.cast(pa.float64())
    else:
        values = _floats(column, decimal, thousands)
        if values is None:
            return _some_floats(column, decimal, thousands)
    wrong = mask_of(pc.invert(pc.is_finite(values)))
    return (pc.if_else(pa.array(wrong), pa.scalar(None, pa.float64()), values) if wrong.any() else values), wrong


def _floats(column: pa.Array, decimal: str, thousands: str) -> pa.Array | None:
    """Return text as float64, or None where not all of it is a number as it stands."""
    if decimal != "." or thousands:
        return None
    try:
        return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column).cast(pa.float64())
    except pa.ArrowInvalid:
        return None


def _some_floats(column: pa.Array, decimal: str, thousands: str) -> tuple[pa.Array, Mask]:
    text = pc.utf8_trim_whitespace(column)
    if thousands:
        text = pc.replace_substring(text, thousands, "")
    if decimal != ".":
        # A point is no decimal mark here: 1.5 must not become a number by chance.
        text = pc.replace_substring(pc.replace_substring(text, ".", "?"), decimal, ".")
    wrong = ~(mask_of(pc.match_substring_regex(text, NUMBER)) | blank(text))
    text = pc.if_else(
        pa.array(wrong) if wrong.any() else pa.array(np.zeros(len(text), bool)), pa.scalar("", pa.string()), text
    )
    values = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text).cast(pa.float64())
    infinite = mask_of(pc.invert(pc.is_finite(values)))
    if infinite.any():
        values = pc.if_else(pa.array(infinite), pa.scalar(None, pa.float64()), values)
    return values, wrong | infinite


def entities(column: pa.Array, separators: str) -> pa.Array:
    """Return a column of sequences as lists of trimmed entities, none empty: lists, `a|b`, `[a, b]` or a JSON array."""
    if pa.types.is_list(column.type):
        lists = pc.fill_null(column, pa.scalar([], column.type))
    else:
        text = pc.utf8_trim_whitespace(text_of(column).fill_null(""))
        lists = pc.split_pattern_regex(text, "[" + re.escape(separators).replace("]", "\\]") + "]")
        bracketed = np.flatnonzero(mask_of(pc.match_substring_regex(text, r"(?s)^(\[.*\]|\{.*\})$")))
        if len(bracketed):
            values = lists.to_pylist()
            for place in bracketed:
                values[place] = _bracketed(text[place].as_py(), separators)
            lists = pa.array(values, pa.list_(pa.string()))
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    flat = pc.utf8_trim_whitespace(pc.list_flatten(lists).cast(pa.string()).fill_null(""))
    kept = mask_of(pc.not_equal(flat, ""))
    rows = np.repeat(np.arange(len(lists)), lengths)
    counts = np.bincount(rows[kept], minlength=len(lists))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat.filter(pa.array(kept)))


def _bracketed(text: str, separators: str) -> list[str | None]:
    """Return the entities of `["a", "b"]`, `[a, b]` or `{a,"b, c"}`; brackets inside a text that is none of these stay."""
    if text.startswith("{"):
        fields = next(
            csv.reader([text[1:-1]], quotechar='"', escapechar="\\", doublequote=False, skipinitialspace=True), []
        )
        return [None if field == "NULL" else field for field in fields]
    try:
        values = json.loads(text, parse_int=str, parse_float=str)
        return [
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for value in values
            if value is not None
        ]
    except ValueError:
        inside = text if "[" in text[1:] or "]" in text[:-1] else text[1:-1]
        return [part.strip().strip("'\"") for part in re.split("[" + re.escape(separators) + "]", inside)]


def entities_text(values: list[str], separators: str) -> str:
    """Return entities as a raw log writes them: joined by a comma or, where that would cut one of them, as a JSON array."""
    if any(re.search(f"[{re.escape(separators)}]|^\\[|^\\s|\\s$", value) for value in values):
        return json.dumps(values, ensure_ascii=False)
    return (separators[0] if "," not in separators else ",").join(values)
