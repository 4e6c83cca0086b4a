"""The beginning of a file of a log: its format, its text or its table, whatever it is called."""

import json
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow as pa
from pyarrow import orc, parquet

from include.errors import InvalidInputError
from include.raw.drafting.encodings import Encoding, guess_encoding
from include.raw.import_files import open_input
from include.raw.reading.columnar import json_texts
from include.raw.reading.streams import DAMAGE, decoder, decompressed
from include.raw.reading.values import text_of

SAMPLE_BYTES = 4 << 20
SAMPLE_RECORDS = 5_000
_BINARY = 0.02

Values = list[str | None]


@dataclass
class Sample:
    """The first records of a file.

    `lines` is its text where the format is `csv`; `columns` the values by dotted name where it is another, `lists` the names of
    those that hold lists, `typed_times` the types of those that hold times and not text. `is_whole`: the file ends
    with the sample.
    """

    path: str
    form: str
    encoding: Encoding
    lines: list[str] = field(default_factory=list)
    columns: dict[str, Values] = field(default_factory=dict)
    lists: set[str] = field(default_factory=set)
    typed_times: dict[str, str] = field(default_factory=dict)
    is_whole: bool = True


def read_sample(path: str) -> Sample:
    """Return the beginning of a file; raises `InvalidInputError` where it is empty, damaged, an archive or no log at all."""
    with open_input(path) as (file, _):
        head = file.read(4)
        file.seek(0)
        if not head:
            raise InvalidInputError(f"{path} is empty: expected records, found 0 bytes. Give a file that holds some.")
        try:
            if head == b"PAR1":
                return _parquet(path, file)
            if head[:3] == b"ORC":
                return _orc(path, file)
            with decompressed(file, path) as stream:
                data = _read(stream, SAMPLE_BYTES + 1)
        except DAMAGE as error:
            raise InvalidInputError(
                f"{path}: expected a complete file, plain or compressed, found: {error}."
            ) from error
    return _text(path, data)


def _read(stream: IO[bytes], size: int) -> bytes:
    parts, length = [], 0
    while length < size and (part := stream.read(size - length)):
        parts.append(part)
        length += len(part)
    return b"".join(parts)


def _text(path: str, data: bytes) -> Sample:
    if data[:4] == b"PAR1" or data[:3] == b"ORC":
        raise InvalidInputError(
            f"{path} is a compressed Parquet or ORC file, which cannot be read in part: decompress it first."
        )
    encoding = guess_encoding(data[:SAMPLE_BYTES])
    text = decoder(encoding.name or "utf-8").decode(data).removeprefix("\ufeff")
    odd = sum(text[:100_000].count(chr(code)) for code in range(32) if code not in (0, 1, 2, 9, 10, 13, 27))
    if odd > _BINARY * len(text[:100_000]) or text[:4096].count("\0") > len(text[:4096]) / 4:
        raise InvalidInputError(
            f"{path} is no text, and neither Parquet nor ORC: it begins with {data[:16]!r}. Give the log as delimited text, JSON "
            "lines, Parquet or ORC; text may be compressed by gzip, bzip2, zstd or xz."
        )
    if "\n" not in text and "\r" in text:
        text = text.replace("\r", "\n")
    is_whole = len(data) <= SAMPLE_BYTES
    lines = text.split("\n")
    if (not is_whole and len(lines) > 1) or not lines[-1]:
        lines.pop()
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise InvalidInputError(f"{path} holds only blank lines: expected records.")
    form = "json" if first.lstrip()[0] in "{[" and _is_json(first) else "csv"
    sample = Sample(path, form, encoding, lines, is_whole=is_whole)
    if form == "json":
        _read_json(sample, first)
    elif first.strip() in ("[", "{"):
        raise _no_json_lines(path)
    return sample


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _no_json_lines(path: str) -> InvalidInputError:
    return InvalidInputError(
        f"{path} is one JSON document: expected JSON lines, one object a line. Convert it first, for example: jq -c '.[]' {path}"
    )


def _read_json(sample: Sample, first: str) -> None:
    if not isinstance(json.loads(first), dict):
        raise _no_json_lines(sample.path)
    records = []
    for line in sample.lines[:SAMPLE_RECORDS]:
        try:
            record = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except ValueError:
            continue
        if isinstance(record, dict):
            records.append(_flat(record))
    names = dict.fromkeys(name for record in records for name in record)
    for name in names:
        values = [record.get(name) for record in records]
        if any(isinstance(value, list) for value in values):
            sample.lists.add(name)
        sample.columns[name] = [_json_text(value) for value in values]
    sample.lines = []


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return an object with its inner objects' values under dotted names."""
    found: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _parquet(path: str, file: IO[bytes]) -> Sample:
    content: Any = parquet.ParquetFile(file)
    batches = content.iter_batches(batch_size=SAMPLE_RECORDS)
    batch = next(batches, None)
    return _of_table(
        Sample(path, "parquet", Encoding("utf-8", "")), content.schema_arrow, batch, content.metadata.num_rows
    )


def _orc(path: str, file: IO[bytes]) -> Sample:
    content: Any = orc.ORCFile(file)
    batch = content.read_stripe(0).slice(0, SAMPLE_RECORDS) if content.nstripes else None
    return _of_table(Sample(path, "orc", Encoding("utf-8", "")), content.schema, batch, content.nrows)


def _of_table(sample: Sample, schema: Any, batch: Any, rows: int) -> Sample:
    if batch is None or not batch.num_rows:
        raise InvalidInputError(f"{sample.path} holds no rows; it has the columns {', '.join(schema.names[:40])}.")
    table = pa.Table.from_batches([batch])
    while any(pa.types.is_struct(field_.type) for field_ in table.schema):
        table = table.flatten()
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = column.combine_chunks()
        if isinstance(values, pa.ChunkedArray):
            values = pa.concat_arrays(values.chunks)
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        kind = values.type
        if pa.types.is_temporal(kind) and not pa.types.is_time(kind):
            sample.typed_times[name] = str(kind)
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            sample.lists.add(name)
        sample.columns[name] = _texts(values)
    sample.is_whole = rows <= batch.num_rows
    return sample


def _texts(values: Any) -> Values:
    try:
        if pa.types.is_large_list(values.type) or pa.types.is_boolean(values.type):
            return [_json_text(value) for value in values.to_pylist()]
        texts: Values = text_of(values).to_pylist()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return json_texts(values)
    return [None if text == "nan" else text for text in texts] if pa.types.is_floating(values.type) else texts
