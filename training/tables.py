"""Published tables of the lake as Arrow tables: columnar from ORC to tensor, one day at a time."""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pyarrow.dataset as ds

from include.calendar import window
from include.lake import Lake
from include.schemas import stage_of


def read_day(lake: Lake, table: str, day: date, needed_for: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A table's published day; raises `MissingDataError` (saying what needed it) where the day is not published."""
    folder = lake.table_path(table, day, needed_for)
    data = ds.dataset(folder, format="orc", filesystem=lake.fs, exclude_invalid_files=False)
    return data.to_table(columns=list(columns) if columns else None)


def published_days(lake: Lake, table: str, last: date, length: int) -> list[date]:
    """The published days among the `length` calendar days that end with `last`, ascending."""
    wanted = set(window(last, length))
    return [day for day in lake.days(stage_of(table)) if day in wanted]
