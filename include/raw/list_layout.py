"""What the file of a list to be scored looks like: its format, its columns' names, and so the mapping by which it is read."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal

import pyarrow as pa
from pyarrow import orc, parquet

from include.errors import InvalidInputError
from include.mapping.mapping import ISO, Constant, Mapping
from include.raw.reading.lines import decode_block, utf8_blocks
from include.raw.reading.records import FileCounts
from include.raw.reading.streams import decompressed, printable
from include.raw.reading.tokens import Tokenizer, UnreadableRecordError
from include.schemas import RAW_COLUMNS

NEEDED = ("user_id", "item_id", "scene")
DELIMITERS = (",", ";", "\t", "|")
"""Tried after the mapping's own."""
_HEAD_LINES = 1_000
_NO_TIME = Constant(constant=" ")
Format = Literal["csv", "json", "parquet", "orc"]
Columns = dict[str, str | Constant]


@dataclass(frozen=True)
class Layout:
    """The mapping of the raw logs with the list's own format and columns, and the file's columns that it does not read."""

    mapping: Mapping
    ignored: tuple[str, ...] = ()

    def source(self, name: str) -> str:
        """Return the name in the file of a raw column."""
        source = self.mapping.columns[name]
        return source if isinstance(source, str) else name


@dataclass(frozen=True)
class _Head:
    """The beginning of a file: the names of its columns, those inside structs with dots, and the first line of a text."""

    format: Format
    names: tuple[str, ...]
    delimiter: str = ","
    header: Literal["true", "false"] = "true"
    line: str = ""


def list_layout(file: IO[bytes], label: str, mapping: Mapping) -> Layout:
    """Return how a list is read; `file` is seekable, and at its beginning again afterwards.

    Raises `InvalidInputError` where the file has no user, item or scene, or an unknown column and the mapping forbids those.
    """
    heads = _heads(file, label, mapping)
    file.seek(0)
    for head in heads:
        for naming in _namings(mapping, head.names):
            if not _missing(naming, head.names):
                return _fitted(head, naming, mapping, label)
    raise _refusal(heads, mapping, label)


def _heads(file: IO[bytes], label: str, mapping: Mapping) -> list[_Head]:
    """Return what the beginning of the file can be; for delimited text by each delimiter."""
    magic = file.read(4)
    file.seek(0)
    if not magic:
        raise InvalidInputError(f"{label} holds no row: there is nothing to score.")
    if magic == b"PAR1":
        return [_Head("parquet", tuple(_paths(parquet.ParquetFile(file).schema_arrow)))]
    if magic.startswith(b"ORC"):
        return [_Head("orc", tuple(_paths(orc.ORCFile(file).schema)))]
    with decompressed(file, label) as stream:
        block = next(utf8_blocks(stream, mapping.encoding, FileCounts()), b"")
    if block.startswith((b"PAR1", b"ORC")):
        raise InvalidInputError(f"{label} is a compressed Parquet or ORC file: unpack it first.")
    lines = decode_block(block, mapping.encoding).split("\n")[:_HEAD_LINES]
    first = next((place for place, line in enumerate(lines) if line.strip()), 0)
    if lines[first].lstrip().startswith("{"):
        return [_Head("json", tuple(_keys(lines[first:])), line=lines[first])]
    return list(_delimited(lines[first:], mapping))


def _delimited(lines: list[str], mapping: Mapping) -> Iterator[_Head]:
    others = [mark for mark in DELIMITERS if mark not in (mapping.delimiter, mapping.quote, mapping.escape)]
    for delimiter in [mapping.delimiter, *others]:
        tokens = Tokenizer(mapping.model_copy(update={"delimiter": delimiter}), lambda _: False)
        try:
            fields, _ = tokens.fields(lines, 0, last_lines=True)
        except UnreadableRecordError:
            continue
        names = tuple((name or "").strip() for name in fields)
        is_own = delimiter == mapping.delimiter and mapping.header != "true" and len(names) == len(mapping.names)
        if is_own and len({*names} & {*RAW_COLUMNS, *mapping.names}) < 2:
            yield _Head("csv", tuple(mapping.names), delimiter, "false", lines[0])
        else:
            yield _Head("csv", names, delimiter, "true", lines[0])


def _keys(lines: list[str]) -> list[str]:
    """Return the keys of JSON objects, one a line, in the order in which they appear; a line that is none is left out."""
    names: dict[str, None] = {}
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            names |= dict.fromkeys(_dotted(record))
    return list(names)


def _dotted(record: dict[str, Any]) -> Iterator[str]:
    for key, value in record.items():
        yield key
        if isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner in _dotted(value))


def _paths(fields: Any) -> Iterator[str]:
    """Yield the names of a schema's or a struct's columns, and of those inside of them."""
    for field in fields:
        yield field.name
        if pa.types.is_struct(field.type):
            inner = [field.type.field(place) for place in range(field.type.num_fields)]
            yield from (f"{field.name}.{name}" for name in _paths(inner))


def _namings(mapping: Mapping, names: tuple[str, ...]) -> tuple[Columns, Columns]:
    """Return the columns by the names of the mapping's file, and by the project's with what the mapping holds constant."""
    constants = {name: source for name, source in mapping.columns.items() if isinstance(source, Constant)}
    project: Columns = {name: name if name in names else constants.get(name, name) for name in RAW_COLUMNS}
    return mapping.columns, project


def _missing(naming: Columns, names: tuple[str, ...]) -> list[str]:
    sources = [naming[name] for name in NEEDED]
    return [source for source in sources if isinstance(source, str) and source not in names]


def _fitted(head: _Head, naming: Columns, mapping: Mapping, label: str) -> Layout:
    """Return the layout of a file whose columns have these names; a label in the list is not read."""
    # Of JSON lines the first ones need not have every key.
    columns: Columns = {
        name: source
        for name, source in naming.items()
        if isinstance(source, Constant) or source in head.names or head.format == "json"
    }
    used = {source for source in columns.values() if isinstance(source, str)} | {mapping.event_id}
    unknown = tuple(
        name
        for name in head.names
        if "." not in name and name not in used and not any(source.startswith(f"{name}.") for source in used)
    )
    if unknown and mapping.unmapped == "error":
        raise InvalidInputError(_columns_text(label, naming, [], unknown, head))
    if not isinstance(columns.get("log_time"), str):  # also a constant: it is of no certain day
        columns["log_time"] = _NO_TIME
    formats = mapping.time.formats if ISO in mapping.time.formats else [*mapping.time.formats, ISO]
    changes = {
        "format": head.format,
        "columns": columns | {"label": Constant(constant="0")},
        "unmapped": "ignore",
        "delimiter": head.delimiter,
        "header": head.header,
        "event_id": "",
        "time": mapping.time.model_copy(update={"formats": formats}),
    }
    return Layout(mapping.model_copy(update=changes), unknown)


def _refusal(heads: list[_Head], mapping: Mapping, label: str) -> InvalidInputError:
    tries = [(head, naming) for head in heads for naming in _namings(mapping, head.names)]
    head, naming = min(tries, key=lambda pair: len(_missing(pair[1], pair[0].names)))
    return InvalidInputError(_columns_text(label, naming, _missing(naming, head.names), (), head))


def _columns_text(label: str, naming: Columns, missing: list[str], unknown: tuple[str, ...], head: _Head) -> str:
    own = [source for name in NEEDED if isinstance(source := naming[name], str)]
    has = (
        f"Line 1 begins: {printable(head.line)[:200].rstrip()!r}"
        if head.line
        else f"It has: {', '.join(head.names[:40])}"
    )
    return (
        f"{label}: a list has the columns {', '.join(own)} (or, by the project's names, {', '.join(NEEDED)}) and may have others "
        f"of the raw logs; missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}. {has}. "
        "Correct the list, or the mapping of the raw logs (CTR_RAW_MAPPING)."
    )
