"""What both importers share: reading input files, and writing one raw file a day until all are put in place together."""

import csv
import hashlib
import io
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import fsspec

from include.errors import InvalidInputError, MissingDataError
from include.mapping.file_pattern import REJECTS
from include.raw.deliveries import Delivery, Raw, day_folder
from include.raw.reading.streams import DAMAGE, decompressed
from include.schemas import RAW_COLUMNS

Progress = Callable[[float], None]
"""Called with the share of the input that was read, 0 to 1."""

OPEN_DAYS = 64
PROGRESS_ROWS = 5_000


def source_name(path: str) -> str:
    """Return an input's full path or URL, by which an import knows whether it replaces an earlier one."""
    return path if "://" in path else str(Path(path).resolve())


def import_name(kind: str, path: str) -> str:
    """Return the name of an import's files: its kind, the input's folder and name, and a hash that tells alike ones apart."""
    source = source_name(path)
    stem = "-".join(source.replace("\\", "/").rstrip("/").split("/")[-2:])
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", stem).strip("-") or "input"
    return f"{kind}-{readable}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def content_hash(path: str) -> str:
    """Return the SHA-256 of an input's bytes; raises as `open_input` does."""
    with open_input(path) as (file, _):
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()


@contextmanager
def open_input(path: str, progress: Progress | None = None) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Open an input as it is stored, and give a function to call now and then, which reports the progress.

    Raises `MissingDataError` where there is no file.
    """
    try:
        fs, name = fsspec.core.url_to_fs(path)
        size = max(1, int(fs.size(name) or 1))
        with fs.open(name, "rb") as file:
            yield file, lambda: progress(file.tell() / size) if progress else None
    except (FileNotFoundError, IsADirectoryError):
        raise MissingDataError(
            f"{path}: expected a file, found none. Check the path; a URL needs its scheme."
        ) from None


def text_lines(path: str, progress: Progress | None = None) -> Iterator[tuple[int, str]]:
    """Yield the line numbers from 1 and lines, without their ends, of a UTF-8 file, plain or compressed.

    Raises as `open_input` does, and `InvalidInputError` where the file cannot be read to its end.
    """
    number = 0
    try:
        with open_input(path, progress) as (file, tick), decompressed(file, path) as stream:
            for number, line in enumerate(io.TextIOWrapper(stream, encoding="utf-8-sig", newline="\n"), 1):
                if number % PROGRESS_ROWS == 0:
                    tick()
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path}, after line {number}: expected UTF-8, found {error.reason} (byte {error.object[error.start]:#x}). "
            "Convert the file to UTF-8 first. Nothing was imported."
        ) from None
    except DAMAGE as error:
        raise InvalidInputError(
            f"{path} cannot be read to its end: expected a complete file, plain or compressed, found: {error}. "
            "Fetch it again. Nothing was imported."
        ) from error


@dataclass
class Imported:
    """What an import of one input wrote."""

    name: str
    source: str
    rows_in: int = 0
    rows_written: int = 0
    rejects: int = 0
    days: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def check_conserved(self) -> None:
        """Raise `InvalidInputError` unless every row that came in was written or rejected."""
        if self.rows_in != self.rows_written + self.rejects:
            raise InvalidInputError(
                f"{self.source}: {self.rows_in:,} rows came in, but {self.rows_written:,} were written and {self.rejects:,} "
                "rejected. Nothing was imported; this is a bug in the importer: please report it."
            )


def previous_imports(raw: Raw, source: str, content: str = "") -> list[list[str]]:
    """Return the files, their ledgers among them, that earlier imports of an input wrote: of the same place, or content."""
    found = []
    for name in raw.names("_imports"):
        ledger = raw.read_json(f"_imports/{name}")
        if ledger and (ledger["source"] == source or (content and ledger.get("sha256") == content)):
            found.append([*ledger["files"], f"_imports/{name}"])
    return found


class DayFiles:
    """The raw files of one import in a delivery: one for each day, more where the log spans more days than may be open."""

    def __init__(self, delivery: Delivery, imported: Imported, own: re.Pattern[str]) -> None:
        self._delivery = delivery
        self._imported = imported
        self._own = own
        self._open: OrderedDict[tuple[str, str], tuple[ExitStack, Callable[[Any], Any]]] = OrderedDict()
        self._parts: dict[tuple[str, str], int] = {}
        self._day = ""
        self._early: list[dict[str, Any]] = []

    def __enter__(self) -> "DayFiles":
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._close_oldest()

    def row(self, day: str, row: Sequence[str]) -> None:
        """Write a raw row, in the order of `RAW_COLUMNS`, to its day (`YYYY-MM-DD`)."""
        self._writer(day, "csv.gz")(row)
        self._imported.days[day] = self._imported.days.get(day, 0) + 1
        self._imported.rows_written += 1
        self._day = day
        if self._early:
            early, self._early = self._early, []
            for record in early:
                self._write_reject(record)

    def reject(self, record: dict[str, Any]) -> None:
        """Write a rejected record to the day of the row before it, or of the first row."""
        self._imported.rejects += 1
        if self._day:
            self._write_reject(record)
        else:
            self._early.append(record)

    def _write_reject(self, record: dict[str, Any]) -> None:
        # ASCII with escapes, so that a record in broken encoding can be written and read.
        self._writer(self._day, REJECTS[1:])((json.dumps(record) + "\n").encode())

    def _writer(self, day: str, ending: str) -> Callable[[Any], Any]:
        key = (day, ending)
        if key not in self._open:
            self._begin(key)
        return self._open[key][1]

    def _begin(self, key: tuple[str, str]) -> None:
        day, ending = key
        if key not in self._parts:
            self._delivery.raw.refuse_others(day, self._own, f"an import named {self._own.pattern!r}")
        if len(self._open) >= OPEN_DAYS:
            self._close_oldest()
        part = self._parts.get(key, 0)
        self._parts[key] = part + 1
        path = f"{day_folder(day)}/{self._imported.name}{f'.{part}' if part else ''}.{ending}"
        self._imported.files.append(path)
        stack = ExitStack()
        write: Callable[[Any], Any]
        if ending == "csv.gz":
            write = csv_writer(stack, self._delivery, path)
            write(RAW_COLUMNS)
        else:
            write = stack.enter_context(self._delivery.open(path)).write
        self._open[key] = (stack, write)

    def _close_oldest(self) -> None:
        _, (stack, _) = self._open.popitem(last=False)
        stack.close()


def csv_writer(stack: ExitStack, delivery: Delivery, path: str) -> Callable[[Sequence[Any]], Any]:
    """Return a function that writes one CSV row to a file of the delivery, which closes with the stack."""
    file = stack.enter_context(delivery.open(path))
    text = io.TextIOWrapper(io.BufferedWriter(cast(io.RawIOBase, file), 1 << 18), encoding="utf-8", newline="")
    stack.callback(text.flush)
    return csv.writer(_ShortLineEnds(text), lineterminator="\r\n").writerow


class _ShortLineEnds:
    """Turns CRLF into LF: `csv` quotes a lone carriage return in a field only if rows end in one."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self._write = file.write

    def write(self, line: str) -> int:
        """Write one line."""
        return self._write(line[:-2] + "\n")
