"""A whole file of a log as records, by a mapping: the reader of its format over its decompressed bytes."""

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import IO

import numpy as np

from include.errors import InvalidInputError
from include.mapping.mapping import Mapping
from include.raw.reading.columnar import read_columnar
from include.raw.reading.delimited import read_delimited
from include.raw.reading.json_lines import read_json_lines
from include.raw.reading.lines import utf8_blocks
from include.raw.reading.records import Broken, FileCounts, Records
from include.raw.reading.streams import DAMAGE, decompressed
from include.raw.reading.times import is_time


def read_records(file: IO[bytes], mapping: Mapping, label: str, counts: FileCounts) -> Iterator[Records]:
    """Yield the records of a seekable file in batches, and fill `counts` on the way.

    Raises `InvalidInputError` where it is empty, damaged, an archive, or has other columns than the mapping; `label` names it.
    """
    try:
        if not file.read(1):
            raise InvalidInputError(f"{label} is empty: expected records, found 0 bytes. Deliver it again.")
        file.seek(0)
        if mapping.format in ("parquet", "orc"):
            yield from read_columnar(file, mapping, label, counts)
            return
        with decompressed(file, label) as stream:
            if mapping.format == "json":
                yield from read_json_lines(stream, mapping, label, counts)
            else:
                yield from read_delimited(stream, mapping, label, counts, _time_test(mapping))
    except DAMAGE as error:
        raise InvalidInputError(
            f"{label} cannot be read to its end: expected a complete {mapping.format} file, plain or compressed, "
            f"found: {error}. Deliver it again."
        ) from error


def _time_test(mapping: Mapping) -> Callable[[str], bool]:
    return lru_cache(maxsize=4096)(lambda text: is_time(text, mapping.time))


def read_rejects(file: IO[bytes], label: str, counts: FileCounts) -> Iterator[Records]:
    """Yield what an import rejected; raises `InvalidInputError` where it cannot be read."""
    try:
        with decompressed(file, label) as stream:
            text = b"".join(utf8_blocks(stream, "utf-8", counts)).decode()
        broken = []
        for number, line in enumerate(text.splitlines()):
            row = json.loads(line)
            broken.append(Broken(number, row["line"], row["reason"], row["fault"], row["record"]))
    except (*DAMAGE, ValueError, KeyError) as error:
        raise InvalidInputError(
            f"{label} cannot be read: expected lines of JSON, found: {error}. Import the log again."
        ) from error
    counts.records = counts.lines
    yield Records(np.array([], np.int64), {}, broken)
