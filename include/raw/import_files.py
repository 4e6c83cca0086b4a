"""What both importers share: reading input files, and writing one raw file a day until all are put in place together."""

import csv
import io
import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import fsspec
from fsspec.compression import compr
from fsspec.utils import infer_compression

from include.errors import InvalidInputError, MissingDataError
from include.raw.deliveries import Delivery, Raw, day_folder
from include.schemas import RAW_COLUMNS

Progress = Callable[[float], None]
"""Called with the share of the input that was read, 0 to 1."""

OPEN_DAYS = 64
PROGRESS_ROWS = 5_000


def source_name(path: str) -> str:
    """Return an input's full path or URL, by which an import knows whether it replaces an earlier one."""
    return path if "://" in path else str(Path(path).resolve())


def import_name(kind: str, path: str) -> str:
    """Return the name of an import's files: its kind, and the input's folder and name without endings."""
    parts = source_name(path).replace("\\", "/").rstrip("/").split("/")[-2:]
    stem = "-".join((*parts[:-1], parts[-1].split(".")[0]))
    return f"{kind}-" + (re.sub(r"[^A-Za-z0-9_]+", "-", stem).strip("-") or "input")


@contextmanager
def open_input(path: str, progress: Progress | None = None) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """Open an input, decompressed by its ending, and give a function to call now and then, which reports the progress.

    Raises `MissingDataError` where there is no file, `InvalidInputError` where it cannot be read to its end.
    """
    try:
        fs, name = fsspec.core.url_to_fs(path)
        size = max(1, int(fs.size(name) or 1))
        with fs.open(name, "rb") as file:
            kind = infer_compression(path)
            stream = compr[kind](file, mode="rb") if kind else file
            yield stream, lambda: progress(file.tell() / size) if progress else None
    except (FileNotFoundError, IsADirectoryError):
        raise MissingDataError(
            f"{path}: expected a file, found none. Check the path; a URL needs its scheme."
        ) from None
    except (EOFError, OSError, zlib.error) as error:
        raise InvalidInputError(
            f"{path}: expected a readable {infer_compression(path) or 'plain'} file, found: {error}. "
            "The file is damaged or truncated: fetch it again. Nothing was imported."
        ) from error


def text_lines(path: str, progress: Progress | None = None) -> Iterator[tuple[int, str]]:
    """Yield the line numbers from 1 and lines, without their ends, of a UTF-8 file; raises as `open_input` does."""
    with open_input(path, progress) as (stream, tick):
        number = 0
        try:
            for number, line in enumerate(io.TextIOWrapper(stream, encoding="utf-8-sig", newline="\n"), 1):
                if number % PROGRESS_ROWS == 0:
                    tick()
                yield number, line.rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InvalidInputError(
                f"{path}, after line {number}: expected UTF-8, found {error.reason} (byte {error.object[error.start]:#x}). "
                "Convert the file to UTF-8 first. Nothing was imported."
            ) from None


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


def previous_files(raw: Raw, name: str, source: str, replace: bool) -> list[str]:
    """Return the files that an earlier import of this input wrote.

    Raises `InvalidInputError` where another input was imported under the same name, unless it is to be replaced.
    """
    before = raw.read_json(f"_imports/{name}.json")
    if before is None:
        return []
    if before["source"] != source and not replace:
        raise InvalidInputError(
            f"{source}: its name '{name}' is taken by an earlier import of {before['source']}. "
            "Rename the input's file or folder to keep both, or pass --replace to put this one in the other's place."
        )
    return list(before["files"])


class DayFiles:
    """The raw files of one import in a delivery: one for each day, more where the log spans more days than may be open."""

    def __init__(self, delivery: Delivery, imported: Imported, own: re.Pattern[str]) -> None:
        self._delivery = delivery
        self._imported = imported
        self._own = own
        self._open: OrderedDict[str, tuple[ExitStack, Any]] = OrderedDict()
        self._parts: dict[str, int] = {}

    def __enter__(self) -> "DayFiles":
        return self

    def __exit__(self, *_: object) -> None:
        while self._open:
            self._close_oldest()

    def row(self, day: str, row: Sequence[str]) -> None:
        """Write a raw row, in the order of `RAW_COLUMNS`, to its day (`YYYY-MM-DD`)."""
        if day not in self._open:
            self._begin(day)
        self._open[day][1](row)
        self._imported.days[day] = self._imported.days.get(day, 0) + 1
        self._imported.rows_written += 1

    def _begin(self, day: str) -> None:
        if day not in self._parts:
            self._delivery.raw.refuse_others(day, self._own, f"an import named {self._own.pattern!r}")
        if len(self._open) >= OPEN_DAYS:
            self._close_oldest()
        part = self._parts.get(day, 0)
        self._parts[day] = part + 1
        path = f"{day_folder(day)}/{self._imported.name}{f'.{part}' if part else ''}.csv.gz"
        self._imported.files.append(path)
        stack = ExitStack()
        write = csv_writer(stack, self._delivery, path)
        write(RAW_COLUMNS)
        self._open[day] = (stack, write)

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
