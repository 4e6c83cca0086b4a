"""Published tables of the lake as Arrow tables: columnar from ORC to tensor, one day at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.orc as orc

from include.calendar import window
from include.errors import LeakageError
from include.lake.lake import Lake
from include.stages import stage_of

NEEDED_FOR = "Training"
"""The task that needs a table, in the error that it is missing."""
Shards = Callable[[Sequence[str]], Iterator[pa.Table]]
"""Yields some columns of a table in parts, the same at each call; one part is in memory at a time."""

_FORBIDDEN_FROM: ContextVar[date] = ContextVar("forbidden_from", default=date.max)


@contextmanager
def only_days_before(day: date) -> Iterator[None]:
    """Forbid to read tables of `day` or later inside: nothing fitted here depends on the day it is evaluated on."""
    token = _FORBIDDEN_FROM.set(day)
    try:
        yield
    finally:
        _FORBIDDEN_FROM.reset(token)


def read_day(lake: Lake, table: str, day: date, needed_for: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a table's published day.

    Raises `MissingDataError` (with `needed_for`) where the day is not published, and `LeakageError` for a day that
    `only_days_before` forbids.
    """
    return _published(lake, table, day, needed_for).to_table(columns=list(columns) if columns else None)


def read_shards(
    lake: Lake, table: str, day: date, needed_for: str, rows: int, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Yield the same in parts of at most `rows` rows, of which one is in memory at a time."""
    batches = _published(lake, table, day, needed_for).to_batches(
        columns=list(columns) if columns else None, batch_size=rows, batch_readahead=0, fragment_readahead=0
    )
    return (pa.Table.from_batches([batch]) for batch in batches if len(batch))


def shards_of_day(lake: Lake, table: str, day: date, needed_for: str, rows: int) -> Shards:
    """Return a reader of the same parts, for who reads them more than once; a day of at most `rows` rows is read once and
    kept."""
    if lake.require(stage_of(table), day, needed_for).table(table).rows <= rows:
        return shards_of_table(read_day(lake, table, day, needed_for), rows)
    return lambda columns: read_shards(lake, table, day, needed_for, rows, columns)


def shards_of_table(table: pa.Table, rows: int) -> Shards:
    """Return the same of a table in memory; one without rows is one part."""

    def shards(columns: Sequence[str]) -> Iterator[pa.Table]:
        chosen = table.select(list(columns))
        yield from (chosen.slice(start, rows) for start in range(0, max(len(chosen), 1), rows))

    return shards


def _published(lake: Lake, table: str, day: date, needed_for: str) -> ds.Dataset:
    if day >= _FORBIDDEN_FROM.get():
        raise LeakageError(
            f"{needed_for} reads '{table}' of {day}, but may only know days before {_FORBIDDEN_FROM.get()}: a fit on the "
            "day of evaluation makes the evaluation too good. Next: fit on the days before."
        )
    folder = lake.table_path(table, day, needed_for)
    by = ds.partitioning(pa.schema([("scene", pa.string())]), flavor="hive") if table == "logs" else None
    return ds.dataset(folder, format="orc", filesystem=lake.fs, partitioning=by, exclude_invalid_files=False)


def read_orc(lake: Lake, path: str) -> pa.Table:
    """Return the ORC files of a folder of the lake that is no published table."""
    return ds.dataset(lake.path(path), format="orc", filesystem=lake.fs, exclude_invalid_files=False).to_table()


def write_orc(lake: Lake, path: str, table: pa.Table, compression: str = "zstd") -> None:
    """Write a table as one ORC file of the lake, atomically."""
    sink = pa.BufferOutputStream()
    orc.write_table(table, sink, compression=compression)
    lake.write_bytes(path, sink.getvalue().to_pybytes())


def published_days(lake: Lake, table: str, last: date, length: int) -> list[date]:
    """Return the published days among the `length` calendar days that end with `last`, ascending."""
    days = set(window(last, length))
    return [day for day in lake.days(stage_of(table)) if day in days]
