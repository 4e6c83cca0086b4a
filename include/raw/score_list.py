"""A list of impressions that were never logged, to be scored: which user would see which item, in which scene.

It has the columns of a raw log but for the label. Only `user_id`, `item_id` and `scene` must be there: where the list says
nothing of an item's text, its latest in the lake is used, and where it gives no `log_time`, noon of the day.
"""

import hashlib
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from include.errors import InvalidInputError
from include.lake.lake import Lake
from include.schemas import DEEP_FEATURES, RAW_COLUMNS
from include.settings import get_settings

NEEDED = ("user_id", "item_id", "scene")
COLUMNS = tuple(name for name in RAW_COLUMNS if name != "label")
PLACE = "place"
"""Place of a row in the list, from 0."""


def read_list(path: Path, day: date) -> pa.Table:
    """Return a CSV (also gzipped) or Parquet file as `COLUMNS` and `PLACE`: text as strings, deep features as doubles.

    Raises `InvalidInputError` that names the file, the column and the first row (from 1) that is not of the form.
    """
    schema = pa.schema([(name, pa.float64() if name in DEEP_FEATURES else pa.string()) for name in COLUMNS])
    try:
        if path.name.endswith(".parquet"):
            loaded = pq.read_table(path)
        else:
            options = csv.ConvertOptions(column_types=schema, strings_can_be_null=True)
            loaded = csv.read_csv(
                path, convert_options=options, parse_options=csv.ParseOptions(newlines_in_values=True)
            )
        wrong = [name for name in loaded.column_names if name not in COLUMNS]
        missing = [name for name in NEEDED if name not in loaded.column_names]
        if wrong or missing:
            raise InvalidInputError(
                f"{path}: a list has the columns {', '.join(NEEDED)} and may have others of a raw log, without the label; "
                f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(wrong) or 'none'}."
            )
        columns = [
            loaded[field.name].cast(field.type)
            if field.name in loaded.column_names
            else pa.nulls(len(loaded), field.type)
            for field in schema
        ]
    except FileNotFoundError:
        raise InvalidInputError(f"There is no file {path}: --list names a CSV or Parquet file.") from None
    except pa.ArrowException as error:
        raise InvalidInputError(f"{path} is no CSV or Parquet file with the columns of a raw log: {error}") from None
    table = pa.table(columns, schema=schema)
    if not len(table):
        raise InvalidInputError(f"{path} holds no row: there is nothing to score.")
    for name in NEEDED:
        values = pc.utf8_trim_whitespace(pc.fill_null(table[name], ""))
        _refuse(path, name, pc.equal(values, ""), values, "expected a value")
    scene_names = pa.array(get_settings().scenes)
    scenes = pc.utf8_trim_whitespace(table["scene"])
    expected = f"expected a scene of CTR_SCENES ({', '.join(get_settings().scenes)})"
    _refuse(path, "scene", pc.invert(pc.is_in(scenes, value_set=scene_names)), scenes, expected)
    table = _at_noon(table, day)
    return table.append_column(PLACE, pa.array(np.arange(len(table))))


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


def _at_noon(table: pa.Table, day: date) -> pa.Table:
    place = table.column_names.index("log_time")
    return table.set_column(place, "log_time", pc.fill_null(table["log_time"], f"{day} 12:00:00"))


def _refuse(path: Path, name: str, wrong: pa.ChunkedArray, values: pa.ChunkedArray, expected: str) -> None:
    if (count := pc.sum(wrong).as_py() or 0) > 0:
        first = pc.index(wrong, True).as_py()
        raise InvalidInputError(
            f"{path}: {count} of {len(wrong)} rows have a wrong '{name}', the first one in row {first + 1}: {expected}, found "
            f"'{values[first].as_py()}'."
        )
