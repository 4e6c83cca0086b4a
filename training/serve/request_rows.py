"""The rows of a scoring request: JSON in, an Arrow table out, or the column and the row of the first value that does not fit."""

import json
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from include.errors import CtrError
from include.schemas import DEEP_FEATURES, LEVELS
from include.stages import TABLES
from training.serve.scoring import Champion
from training.text.text_table import TEXT_KEYS

_DDL = dict(field.split(" ") for field in TABLES["training"].ddl.split(", "))
_INTEGERS = "a list of 64-bit integers"
_KINDS: dict[str, tuple[pa.DataType, set[type], str]] = {
    "string": (pa.string(), {str}, "a text"),
    "bigint": (pa.int64(), {int}, "a 64-bit integer"),
    "int": (pa.int32(), {int}, "a 32-bit integer"),
    "double": (pa.float64(), {int, float}, "a finite number"),
    "array<bigint>": (pa.list_(pa.int64()), {list}, _INTEGERS),
}
"""By Spark type: the Arrow type, the types that Python's JSON has for it (true and false are no numbers), and its name."""
NULLABLE = frozenset((*DEEP_FEATURES, *TEXT_KEYS))
"""Columns that may be null, as in `training`: a deep feature reads as its mean, a text as no text."""


class MalformedRequestError(CtrError):
    """The body is no JSON document."""


class TooManyRowsError(CtrError):
    """A request has more rows than the settings allow."""


class UnfitRowsError(CtrError):
    """Rows that cannot be predicted; `fault` has `column` and `row` (from 0; None: of the whole), `expected` and `found`."""

    def __init__(self, column: str | None, row: int | None, expected: str, found: str) -> None:
        self.fault = {"column": column, "row": row, "expected": expected, "found": found}
        super().__init__(f"Column {column}, row {row}: expected {expected}, found {found}.")


@dataclass(frozen=True)
class Column:
    """A column that a model reads: its Spark type, and the allowed values, where they are few."""

    name: str
    type: str
    choices: tuple[str, ...] = ()

    @property
    def expected(self) -> str:
        """The expected value, in words."""
        description = f"one of {', '.join(self.choices)}" if self.choices else _KINDS[self.type][2]
        return f"{description} or null" if self.name in NULLABLE else description

    def array(self, values: Sequence[Any]) -> pa.Array | None:
        """Return the values as an Arrow array; None where one does not fit."""
        arrow, types, _ = _KINDS[self.type]
        if not set(map(type, values)) <= (types | {type(None)} if self.name in NULLABLE else types):
            return None
        if types == {list} and not {type(key) for keys in values if keys for key in keys} <= {int}:
            return None
        if self.choices and not set(values) <= set(self.choices):
            return None
        try:
            array = pa.array(values, arrow)
        except (ValueError, TypeError, OverflowError):  # integers too large, lone surrogates
            return None
        finite = types != {int, float} or np.isfinite(array.drop_null().to_numpy()).all()  # 1e999 is infinite
        return array if finite else None


def columns_of(champion: Champion) -> list[Column]:
    """Return the columns that a champion reads."""
    choices = {"scene": champion.predictor.state.config.scenes, "user_level": LEVELS, "item_level": LEVELS}
    return [Column(name, _DDL[name], choices.get(name, ())) for name in champion.columns]


def read_rows(body: bytes, columns: Sequence[Column], most: int) -> pa.Table:
    """Return the table `[rows, columns]` of `{"rows": [{column: value, …}, …]}`; other columns are ignored.

    Raises `MalformedRequestError`, `TooManyRowsError` for more than `most` rows, and `UnfitRowsError`.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedRequestError(
            'The body is no JSON document. Expected {"rows": [{column: value, …}, …]}.'
        ) from None
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise UnfitRowsError(None, None, "an object with a list of 'rows'", _shortened(document))
    if len(rows) > most:
        raise TooManyRowsError(f"At most {most} rows a request, found {len(rows)}: send them in parts.")
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UnfitRowsError(None, index, "an object of columns and values", _shortened(row))
    return pa.table({column.name: _read(column, rows) for column in columns})


def _read(column: Column, rows: Sequence[dict[str, Any]]) -> pa.Array:
    try:
        values = [row[column.name] for row in rows]
    except KeyError:
        index = next(n for n, row in enumerate(rows) if column.name not in row)
        raise UnfitRowsError(column.name, index, column.expected, "no such column") from None
    array = column.array(values)
    return array if array is not None else _raise_first_unfit(column, values)


def _raise_first_unfit(column: Column, values: Sequence[Any]) -> NoReturn:
    index = next(n for n, value in enumerate(values) if column.array([value]) is None)
    raise UnfitRowsError(column.name, index, column.expected, _shortened(values[index]))


def _shortened(value: Any) -> str:
    """Return a short form of a JSON value, in ASCII: it may hold characters that no encoding can write."""
    short = "null" if value is None else reprlib.repr(value)
    return short.encode("ascii", "backslashreplace").decode()
