"""Check of the form of a day's raw files, before Spark reads a row.

A raw file is UTF-8 (a byte-order mark is fine), comma separated, with quotes doubled inside quotes; its name ends in `.csv`,
`.csv.gz` or `.csv.bz2`.
"""

import csv
import difflib
import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import IO, cast

import numpy as np
from fsspec.utils import infer_compression

from include.errors import InvalidInputError, MissingDataError
from include.plural import counted
from include.raw.deliveries import Raw, day_folder, repairs_path
from include.schemas import OPTIONAL_RAW_COLUMNS, RAW_COLUMNS

_CHUNK = 4 << 20
_HEADER_BYTES = 1 << 16
_LF, _CR, _QUOTE = b'\n\r"'
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class RawFile:
    """A raw file whose form was checked.

    `name` is relative to the raw root and is the stable part of every `event_id`; `columns` are in the file's order;
    `records` is the number of data records, counted here and not by Spark.
    """

    name: str
    columns: tuple[str, ...]
    records: int


def raw_digest(day: date) -> str:
    """Return a short hash of the names, sizes and times of change of the day's raw files and of the repairs of their rows.

    It changes when a file is replaced, and when `ctr quarantine --replay --mapping` adds repairs.
    """
    raw = Raw()
    lines = []
    paths = {name: f"{day_folder(day)}/{name}" for name in raw.day_files(day)}
    if raw.fs.exists(raw.full(repairs_path(day))):
        paths[repairs_path(day)] = repairs_path(day)
    for name, path in paths.items():
        info = raw.fs.info(raw.full(path))
        changed = info["mtime"] if "mtime" in info else _microseconds(raw.fs.modified(raw.full(path)))
        lines.append(f"{name} {info['size']} {changed}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _microseconds(moment: datetime) -> int:
    """Return microseconds since 1970; a moment without a zone, as HDFS gives it, is in that of the process."""
    return round(moment.timestamp() * 1_000_000)


def check_raw_day(day: date) -> list[RawFile]:
    """Check every file of a day; [] for a day that the settings declare empty and that has none.

    Raises `MissingDataError` without a file, `InvalidInputError` for one of the wrong form.
    """
    raw = Raw()
    folder = day_folder(day)
    if not raw.has_log(day):
        raise MissingDataError(
            f"No raw log of {day}: expected at least one *.csv, *.csv.gz or *.csv.bz2 file in {raw.url}/{folder}, found none. "
            "Deliver the files there, or write some with `ctr sample` or `ctr import`. "
            f"If nothing was logged that day, declare it empty: CTR_EMPTY_DAYS={day}."
        )
    if unread := raw.unread_files(day):
        raise InvalidInputError(
            f"{raw.url}/{folder} holds {counted(len(unread), 'name')} that would not be read: {', '.join(unread[:20])}"
            f"{', …' if len(unread) > 20 else ''}. Expected *.csv, *.csv.gz or *.csv.bz2 files, no folders, and no colon in a "
            "name. Rename them (or begin the name with '_' to leave the file out), and run the day again."
        )
    return [_check_file(raw, f"{folder}/{name}", day) for name in raw.day_files(day)]


def _check_file(raw: Raw, path: str, day: date) -> RawFile:
    label = f"Raw file {path.rsplit('/', 1)[-1]} of {day} ({raw.url}/{path})"
    if raw.fs.size(raw.full(path)) == 0:
        raise InvalidInputError(f"{label} is empty: expected a header and records, found 0 bytes. Deliver it again.")
    try:
        columns = _header(raw, path, label)
        records = max(_count_records(raw, path) - 1, 0)
    except (EOFError, OSError, zlib.error) as error:
        kind = infer_compression(path) or "CSV"
        raise InvalidInputError(
            f"{label} cannot be read to its end: expected a complete {kind} file, found: {error}. Deliver it again."
        ) from error
    if problem := header_problem(columns):
        raise InvalidInputError(
            f"{label} has a wrong header: {problem}. "
            "Correct the file, or map its columns with `ctr import csv --mapping FILE`, and run the day again."
        )
    return RawFile(path, columns, records)


def read_header(path: str) -> tuple[str, ...]:
    """Return the columns of a raw file (path relative to the raw root), in its order; raises `InvalidInputError` without any."""
    raw = Raw()
    return _header(raw, path, f"Raw file {path} ({raw.url}/{path})")


def header_problem(columns: tuple[str, ...]) -> str | None:
    """Return what is wrong with a raw header, or None.

    An unknown column is an error, not a warning: a renamed optional column would otherwise read as null, unseen.
    """
    missing = [name for name in RAW_COLUMNS if name not in columns and name not in OPTIONAL_RAW_COLUMNS]
    absent = [name for name in RAW_COLUMNS if name not in columns]
    problems = [f"expected column '{name}', which is missing" for name in missing]
    for name in columns:
        if name not in RAW_COLUMNS:
            close = difflib.get_close_matches(name.strip().lower(), absent or RAW_COLUMNS, n=1, cutoff=0.5)
            hint = f" (did you mean '{close[0]}'?)" if close else ""
            problems.append(f"found the unknown column '{name}'{hint}")
    problems += [
        f"found column '{name}' more than once" for name in sorted({n for n in columns if columns.count(n) > 1})
    ]
    return "; ".join(problems) or None


def recount(file: RawFile) -> int:
    """Count the data records of a file as Python's CSV reader does: slow, and exact about stray quotes."""
    raw = Raw()
    csv.field_size_limit(1 << 30)
    with _open(raw, file.name) as binary, io.TextIOWrapper(binary, "utf-8-sig", errors="replace", newline="") as text:
        return sum(1 for row in csv.reader(text) if row) - 1


def _open(raw: Raw, path: str) -> IO[bytes]:
    return cast(IO[bytes], raw.fs.open(raw.full(path), "rb", compression="infer"))


def _header(raw: Raw, path: str, label: str) -> tuple[str, ...]:
    with _open(raw, path) as file:
        head = file.read(_HEADER_BYTES).removeprefix(_BOM)
    for row in csv.reader(io.StringIO(head.decode("utf-8", errors="replace"), newline="")):
        if row:
            return tuple(row)
    raise InvalidInputError(f"{label} has no header: expected {', '.join(RAW_COLUMNS[:4])}, …, found blank lines only.")


def _count_records(raw: Raw, path: str) -> int:
    """Count the records of a file, header included: runs of line ends outside quotes.

    Fast, and independent of Spark; a quote inside an unquoted field misleads it, and then `recount` settles it.
    """
    count = 0
    quoted = False
    in_line = False
    with _open(raw, path) as file:
        for chunk in _chunks(file):
            if not chunk:
                continue
            bytes_ = np.frombuffer(chunk, np.uint8)
            ends = np.flatnonzero((bytes_ == _LF) | (bytes_ == _CR))
            quotes = np.flatnonzero(bytes_ == _QUOTE)
            outside = ends[(np.searchsorted(quotes, ends) + quoted) % 2 == 0]
            if len(outside):
                # An end right after another ends nothing: the second byte of CRLF, or a blank line.
                count += int((np.diff(outside) > 1).sum()) + bool(in_line or outside[0] > 0)
                in_line = bool(outside[-1] < len(chunk) - 1)
            else:
                in_line = True
            quoted = bool((quoted + len(quotes)) % 2)
    return count + in_line


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    first = True
    while chunk := file.read(_CHUNK):
        yield chunk.removeprefix(_BOM) if first else chunk
        first = False
