"""Records of Parquet and ORC files: columns by dotted names, with the types of the file; lists stay lists."""

import json
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import orc, parquet

from include.errors import InvalidInputError
from include.mapping.mapping import Mapping
from include.raw.reading.delimited import columns_fault
from include.raw.reading.records import FileCounts, Records

_BATCH_ROWS = 16_384


def read_columnar(stream: IO[bytes], mapping: Mapping, label: str, counts: FileCounts) -> Iterator[Records]:
    """Yield the records of a Parquet or ORC file; raises `InvalidInputError` where its columns are not those of the mapping."""
    file: Any = parquet.ParquetFile(stream) if mapping.format == "parquet" else orc.ORCFile(stream)
    schema: pa.Schema = file.schema_arrow if mapping.format == "parquet" else file.schema
    sources = {name: source for name in mapping.sources() if (source := _path(schema, name))}
    found = [*sources, *(name for name in schema.names if name not in {path[0] for path in sources.values()})]
    if problem := columns_fault(found, mapping):
        raise InvalidInputError(
            f"{label} has other columns than the mapping: {problem}. It has: {', '.join(schema.names[:40])}. "
            "Correct the file, or 'columns' in the mapping (`ctr map FILE` proposes one)."
        )
    tops = list(dict.fromkeys(path[0] for path in sources.values()))
    for batch in _batches(file, tops, mapping.format):
        numbers = np.arange(counts.records, counts.records + batch.num_rows, dtype=np.int64)
        counts.records += batch.num_rows
        yield Records(numbers, {name: _values(_at(batch, path), label) for name, path in sources.items()})
    promised = file.metadata.num_rows if mapping.format == "parquet" else file.nrows
    if promised != counts.records:
        raise InvalidInputError(
            f"{label}: its footer promises {promised:,} rows, found {counts.records:,}. Deliver it again."
        )


def _batches(file: Any, tops: list[str], form: str) -> Iterator[pa.RecordBatch]:
    if form == "parquet":
        yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=tops)
        return
    for number in range(file.nstripes):
        stripe = file.read_stripe(number, columns=tops)
        for start in range(0, stripe.num_rows, _BATCH_ROWS):
            yield stripe.slice(start, _BATCH_ROWS)


def _path(schema: pa.Schema, name: str) -> list[str] | None:
    """Return the way to a column: its name, or the names of the structs around it; None where there is none."""
    if name in schema.names:
        return [name]
    for cut in range(len(name)):
        if name[cut] == "." and name[:cut] in schema.names:
            kind, path = schema.field(name[:cut]).type, [name[:cut]]
            for key in name[cut + 1 :].split("."):
                if not pa.types.is_struct(kind) or kind.get_field_index(key) < 0:
                    return None
                path.append(key)
                kind = kind.field(key).type
            return path
    return None


def _at(batch: pa.RecordBatch, path: list[str]) -> pa.Array:
    column = batch.column(path[0])
    for key in path[1:]:
        column = pc.struct_field(column, key)
    return column


def json_texts(column: pa.Array) -> list[str | None]:
    """Return the values of a column that Arrow cannot cast to text, as JSON."""
    return [
        None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in column.to_pylist()
    ]


def _values(column: pa.Array, label: str) -> pa.Array:
    """Return a column as text, times, numbers or lists of text; other types as text, what is nested as JSON."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _values(column.dictionary_decode(), label)
    if pa.types.is_temporal(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return column
    try:
        if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            return column.cast(pa.list_(pa.string()))
        return column.cast(pa.string())
    except pa.ArrowNotImplementedError:
        return pa.array(json_texts(column), pa.string())
    except pa.ArrowInvalid as error:
        raise InvalidInputError(
            f"{label}: expected text in UTF-8, found: {error}. Write the column as UTF-8 text."
        ) from None
