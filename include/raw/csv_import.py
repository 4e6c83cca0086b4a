"""Import of any delimited log as raw logs, by a mapping (include/raw/mapping.py).

Rows stream through, so that memory does not grow with the file. Every row that comes in is written to the day of its time, or
to `_rejects/` with its reason; both are counted and must add up. Blank lines are no rows.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter

from include.calendar import ONE_DAY
from include.errors import InvalidInputError
from include.raw.deliveries import Delivery, Raw
from include.raw.import_files import (
    PROGRESS_ROWS,
    DayFiles,
    Imported,
    Progress,
    csv_writer,
    import_name,
    open_input,
    previous_files,
    source_name,
)
from include.raw.mapping import Constant, Mapping, time_parser
from include.schemas import RAW_COLUMNS
from include.settings import get_settings

MAX_FIELD_CHARACTERS = 32 << 20
REJECT_COLUMNS = ("source_row", "line", "reason", "record")
_OWN = re.compile(r"csv-.*\.csv\.gz")
_TIME, _LABEL, _SCENE = (RAW_COLUMNS.index(name) for name in ("log_time", "label", "scene"))


@dataclass
class CsvReport:
    """What was read and written of one input."""

    imported: Imported
    reasons: Counter[str] = field(default_factory=Counter)
    other_scenes: Counter[str] = field(default_factory=Counter)
    rejects_file: str | None = None


class RowError(Exception):
    """A row that belongs to no day; `kind` is the reason without the row's own values."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def import_csv(
    inputs: Sequence[str],
    mapping: Mapping,
    *,
    raw: Raw | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> list[CsvReport]:
    """Write the inputs as raw days, all of them or, after any error, none; importing a file again replaces it."""
    raw = raw or Raw()
    names = Counter(import_name("csv", path) for path in inputs)
    if duplicates := [name for name, count in names.items() if count > 1]:
        raise InvalidInputError(
            f"Two inputs have the same folder and name ('{duplicates[0]}'), by which an import is identified: rename one of them."
        )
    with Delivery(raw) as delivery:
        return [
            _import_file(path, mapping, delivery, replace, _part_of(progress, number, len(inputs)))
            for number, path in enumerate(inputs)
        ]


def _part_of(progress: Progress | None, number: int, count: int) -> Progress | None:
    return (lambda done: progress((number + done) / count)) if progress else None


def _import_file(
    path: str, mapping: Mapping, delivery: Delivery, replace: bool, progress: Progress | None
) -> CsvReport:
    source = source_name(path)
    imported = Imported(import_name("csv", path), source)
    report = CsvReport(imported)
    before = previous_files(delivery.raw, imported.name, source, replace)
    with DayFiles(delivery, imported, _OWN) as files, ExitStack() as stack:
        reject = _Rejects(delivery, report, stack)
        reader = _Reader(path, mapping)
        for row_number, (line, record) in enumerate(reader.records(progress)):
            imported.rows_in += 1
            try:
                row = reader.raw_row(record)
            except RowError as error:
                reject(row_number, line, error, record)
            else:
                if reader.is_other_scene(row[_SCENE]):
                    report.other_scenes[row[_SCENE][:80]] += 1
                files.row(row[_TIME][:10], row)
    _check(report, path)
    delivery.remove(before)
    written = imported.files + ([report.rejects_file] if report.rejects_file else [])
    ledger = {"source": source, "files": written, "days": imported.days, "rejects": report.reasons}
    delivery.write(f"_imports/{imported.name}.json", json.dumps(ledger, indent=1).encode())
    return report


def _check(report: CsvReport, path: str) -> None:
    imported = report.imported
    imported.check_conserved()
    if not imported.rows_written:
        reasons = "; ".join(f"{count:,} × {reason}" for reason, count in report.reasons.items()) or "it has no rows"
        raise InvalidInputError(
            f"{path}: expected rows that the mapping fits, found none of {imported.rows_in:,}: {reasons}. "
            "Correct the mapping (or fetch the file again). Nothing was imported."
        )


class _Rejects:
    """Writes rejected records to the delivery, to a file that exists only if there are any."""

    def __init__(self, delivery: Delivery, report: CsvReport, stack: ExitStack) -> None:
        self._delivery = delivery
        self._report = report
        self._stack = stack
        self._write: Callable[[Sequence[object]], object] | None = None

    def __call__(self, row: int, line: int, error: RowError, record: list[str]) -> None:
        if self._write is None:
            self._report.rejects_file = f"_rejects/{self._report.imported.name}.csv.gz"
            self._write = csv_writer(self._stack, self._delivery, self._report.rejects_file)
            self._write(REJECT_COLUMNS)
        self._report.imported.rejects += 1
        self._report.reasons[error.kind] += 1
        # ASCII with escapes, so that a record in broken encoding can be written and read.
        self._write((row, line, str(error), json.dumps(record)))


class _Reader:
    """The records of one input and how they become raw rows."""

    def __init__(self, path: str, mapping: Mapping) -> None:
        self._path = path
        self._mapping = mapping
        self._width = 0
        self._pick: Callable[[list[str]], tuple[str, ...]] = tuple
        self._constants: list[str] = []
        self._time = time_parser(mapping.time)
        self._days = str(get_settings().earliest_day), str((datetime.now(UTC) + ONE_DAY).date())
        self._scenes = frozenset(mapping.scenes.values())

    def records(self, progress: Progress | None) -> Iterator[tuple[int, list[str]]]:
        """Yield the line number and fields of every data record; raises `InvalidInputError` where the file is not as mapped."""
        csv.field_size_limit(MAX_FIELD_CHARACTERS)
        with open_input(self._path, progress) as (stream, tick):
            text = io.TextIOWrapper(stream, encoding=self._mapping.encoding, errors="surrogateescape", newline="")
            reader = csv.reader(
                text,
                delimiter=self._mapping.delimiter,
                quotechar=self._mapping.quote or None,
                quoting=csv.QUOTE_MINIMAL if self._mapping.quote else csv.QUOTE_NONE,
            )
            try:
                for number, record in enumerate(self._data(reader)):
                    if number % PROGRESS_ROWS == 0:
                        tick()
                    yield reader.line_num, record
            except csv.Error as error:
                raise InvalidInputError(
                    f"{self._path}, line {reader.line_num}: expected delimited text, found: {error}. "
                    "A quote that is never closed is the usual cause: set 'quote' in the mapping (empty for none). "
                    "Nothing was imported."
                ) from None

    def _data(self, reader: Iterator[list[str]]) -> Iterator[list[str]]:
        """Yield the data records; the first record decides whether there is a header."""
        records = (record for record in reader if record)
        first = next(records, None)
        if first is None:
            return
        names = [name.strip() for name in first]
        is_header = self._is_header(names)
        self._settle(names if is_header else self._mapping.names, names)
        if not is_header:
            yield first
        yield from records

    def _is_header(self, first: list[str]) -> bool:
        """Return whether the first record is a header; with `auto`, if it holds two of the names: one may be renamed."""
        if self._mapping.header != "auto":
            return self._mapping.header == "true"
        return not self._mapping.names or len(set(self._mapping.sources()) & set(first)) > 1

    def _settle(self, names: list[str], fields: list[str]) -> None:
        missing = sorted(set(self._mapping.sources()) - set(names))
        duplicates = sorted(
            name for name, count in Counter(names).items() if count > 1 and name in self._mapping.sources()
        )
        if missing or duplicates or len(names) != len(fields):
            fault = f"no column {', '.join(missing)}" if missing else f"two columns {', '.join(duplicates)}"
            if not missing and not duplicates:
                fault = f"{len(fields)} fields"
            expected = (
                f"{len(names)} fields"
                if fault.endswith("fields")
                else f"columns {', '.join(self._mapping.sources()[:12])}"
            )
            beginning = ", ".join(fields[:12])[:300]
            raise InvalidInputError(
                f"{self._path}, line 1: expected {expected}; found {fault}. The line begins: {beginning}. "
                "Correct 'columns', 'names', 'header' or 'delimiter' in the mapping. Nothing was imported."
            )
        self._width = len(names)
        targets = [self._mapping.columns.get(name, Constant(constant="")) for name in RAW_COLUMNS]
        self._constants = [target.constant for target in targets if isinstance(target, Constant)]
        constants = iter(range(self._width, self._width + len(self._constants)))
        places = [next(constants) if isinstance(target, Constant) else names.index(target) for target in targets]
        self._pick = itemgetter(*places)

    def is_other_scene(self, scene: str) -> bool:
        """Return whether the mapping names scenes and this is none of them."""
        return bool(self._scenes) and scene not in self._scenes

    def raw_row(self, record: list[str]) -> list[str]:
        """Return a record as a raw row, its time in UTC; raises `RowError`."""
        if len(record) != self._width:
            raise RowError("another number of fields", f"expected {self._width} fields, found {len(record)}")
        if not _encodable(record):
            raise RowError("not of the encoding", f"bytes that are not {self._mapping.encoding}")
        row = list(self._pick(record + self._constants))
        time = self._time(row[_TIME])
        if time is None:
            raise RowError(
                "time of no known format", f"log_time {row[_TIME][:80]!r} fits none of {self._mapping.time.formats}"
            )
        if not self._days[0] <= time[:10] <= self._days[1]:
            earliest, latest = self._days
            raise RowError("time out of range", f"{time} UTC is not within {earliest} (CTR_EARLIEST_DAY) and {latest}")
        row[_TIME] = time
        row[_LABEL] = self._mapping.labels.get(row[_LABEL], row[_LABEL])
        row[_SCENE] = self._mapping.scenes.get(row[_SCENE], row[_SCENE])
        return row


def _encodable(record: list[str]) -> bool:
    try:
        "".join(record).encode()
    except UnicodeEncodeError:
        return False
    return True
