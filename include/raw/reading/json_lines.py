"""Records of JSON lines: one object a line; columns by dotted names, numbers as they are written, lists as JSON text."""

import json
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa

from include.errors import InvalidInputError
from include.mapping.mapping import Mapping
from include.raw.reading.lines import decode_block, refuse_endless_line, utf8_blocks
from include.raw.reading.records import Broken, FileCounts, Records
from include.raw.reading.streams import is_undecodable, printable
from include.raw.row_rules import MALFORMED, NOT_OF_ENCODING

_NO_KEY = "none of the keys of the mapping"
_AS_WRITTEN: dict[str, Any] = {"parse_int": str, "parse_float": str, "parse_constant": str}


def read_json_lines(stream: IO[bytes], mapping: Mapping, label: str, counts: FileCounts) -> Iterator[Records]:
    """Yield the records of JSON lines; a line that holds no object, or none of the mapping's keys, is broken.

    A key that a record lacks is null. Raises `InvalidInputError` where no record has any of the keys.
    """
    paths = {name: name.split(".") for name in mapping.sources()}
    line = 1
    rest = b""
    fitting = 0
    strange: Broken | None = None
    for block in utf8_blocks(stream, mapping.encoding, counts):
        rest += block
        cut = rest.rfind(b"\n") + 1
        if cut:
            records = _records(
                decode_block(rest[: cut - 1], mapping.encoding).split("\n"), line, paths, mapping, counts
            )
            fitting += len(records.numbers)
            strange = strange or _without_keys(records)
            yield records
            line += rest.count(b"\n", 0, cut)
            rest = rest[cut:]
        refuse_endless_line(rest, label, line)
    if rest:
        records = _records([decode_block(rest, mapping.encoding)], line, paths, mapping, counts)
        fitting += len(records.numbers)
        strange = strange or _without_keys(records)
        yield records
    if strange and not fitting:
        raise InvalidInputError(
            f"{label} has none of the columns of the mapping: expected keys such as {', '.join(list(paths)[:5])}, found, on line "
            f"{strange.line:,}, {printable(strange.text[:200])}. Correct the file, or 'columns' in the mapping."
        )
    counts.check_conserved(label)


def _records(
    lines: list[str], first: int, paths: dict[str, list[str]], mapping: Mapping, counts: FileCounts
) -> Records:
    columns: dict[str, list[str | None]] = {name: [] for name in paths}
    numbers: list[int] = []
    starts: list[int] = []
    broken: list[Broken] = []
    for number, line in enumerate(lines, first):
        line = line.removeprefix("\ufeff")  # of a file that was put behind another
        if not line.strip():
            counts.blank += 1
            continue
        record = _object(line)
        if is_undecodable(line):
            fault = f"bytes that are not {mapping.encoding}"
            broken.append(Broken(counts.records, number, NOT_OF_ENCODING, fault, printable(line)))
        elif record is None:
            broken.append(Broken(counts.records, number, MALFORMED, "no JSON object", line))
        elif not any(path[0] in record or name in record for name, path in paths.items()):
            broken.append(Broken(counts.records, number, MALFORMED, _NO_KEY, line))
        else:
            numbers.append(counts.records)
            starts.append(number)
            for name, path in paths.items():
                columns[name].append(_text(record[name] if name in record else _nested(record, path)))
        counts.records += 1
    arrays = {name: pa.array(values, pa.string()) for name, values in columns.items()}
    return Records(np.array(numbers, np.int64), arrays, broken, np.array(starts, np.int64))


def _without_keys(records: Records) -> Broken | None:
    return next((record for record in records.broken if record.fault == _NO_KEY), None)


def _object(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line, **_AS_WRITTEN)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _nested(record: Any, path: list[str]) -> Any:
    for key in path:
        record = record.get(key) if isinstance(record, dict) else None
    return record


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        # A lone surrogate, written as \ud800, is no text.
        return value if value is None or not is_undecodable(value) else value.encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)
