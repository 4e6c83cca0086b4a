"""Records of CSV, TSV and other delimited text.

What has no quote that goes on after its line and no escape but that of a null, nearly all of most logs, is parsed by Arrow; the
rest line by line (`tokens.py`). Lines are counted as they arrive and as they are used, so that none is lost unseen.
"""

import difflib
import io
from collections.abc import Callable, Generator, Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from include.errors import InvalidInputError
from include.mapping.mapping import Mapping
from include.raw.reading.lines import BOM, decode_block, refuse_endless_line, utf8_blocks
from include.raw.reading.records import Broken, FileCounts, Numbers, Records
from include.raw.reading.streams import is_undecodable, printable
from include.raw.reading.tokens import Fields, MoreLinesNeeded, Tokenizer, UnreadableRecordError
from include.raw.reading.values import Mask
from include.raw.row_rules import MALFORMED, NOT_OF_ENCODING
from include.schemas import OPTIONAL_RAW_COLUMNS, RAW_COLUMNS

_LINES_LIKE_A_RUN = 30
"""How many lines are read one by one in the time that Arrow takes for a run of few lines."""


def read_delimited(
    stream: IO[bytes], mapping: Mapping, label: str, counts: FileCounts, is_time: Callable[[str], bool]
) -> Iterator[Records]:
    """Yield the records of delimited text; raises `InvalidInputError` where its columns are not those of the mapping.

    `is_time` recognises a time of the log: a line that has one in its place, and the right number of fields, is a record.
    """
    reader = _Delimited(mapping, label, counts, is_time)
    rest = b""
    for block in utf8_blocks(stream, mapping.encoding, counts):
        rest += block
        cut = rest.rfind(b"\n") + 1
        if cut:
            left = yield from reader.records(rest[:cut], last=False)
            rest = left + rest[cut:]
        refuse_endless_line(rest, label, counts.lines)
    yield from reader.records(rest, last=True)
    counts.check_conserved(label)


class _Delimited:
    """Turns blocks of whole lines into records; the first record decides on the columns."""

    def __init__(self, mapping: Mapping, label: str, counts: FileCounts, is_time: Callable[[str], bool]) -> None:
        self._mapping = mapping
        self._label = label
        self._counts = counts
        self._is_time = is_time
        self._names: list[str] = []
        self._wanted: dict[str, int] = {}
        self._tokens = Tokenizer(mapping, self._is_record)
        self._escape = b"" if mapping.escape == "quote" else mapping.escape.encode()
        self._line = 1

    def records(self, block: bytes, *, last: bool) -> Generator[Records, None, bytes]:
        """Yield the records of a block of whole lines; return what of it belongs to a record that goes on after it."""
        if not self._names:
            lines = _lines(decode_block(block, self._mapping.encoding))
            block = _after_lines(block, self._header(lines))
        rest = b""
        for run, is_plain in self._runs(block) if block else ():
            if is_plain:
                yield from self._plain(run.removeprefix(BOM).replace(b"\n" + BOM, b"\n"))
            else:
                rest = yield from self._special(run, last=last)
        return rest

    def _special(self, run: bytes, *, last: bool) -> Generator[Records, None, bytes]:
        """Yield the records of lines that are read one by one; return those of a record that goes on after them."""
        text = decode_block(run, self._mapping.encoding)
        records, used = self._by_line(_lines(text), is_undecodable(text), last=last)
        yield records
        return _after_lines(run, used)

    def _runs(self, block: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield a block of lines in runs, and whether Arrow reads the run as it should be."""
        escape = self._escape
        if not self._is_plain(block):
            yield block, False
        elif not escape or escape not in block:
            yield block, True
        else:
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
            if not block.endswith(b"\n"):
                ends = np.append(ends, len(block))
            special = _lines_with_escapes(block, ends, escape, self._mapping.delimiter.encode())
            changes = np.flatnonzero(np.diff(special))
            if len(changes) * _LINES_LIKE_A_RUN > len(ends):
                yield block, False
                return
            begin = 0
            for line in [*changes.tolist(), len(ends) - 1]:
                yield block[begin : ends[line]], not special[line]
                begin = ends[line]

    def _is_plain(self, block: bytes) -> bool:
        """Return whether Arrow reads a block as it should be, but for escapes: its quotes close in their line."""
        mapping, quote = self._mapping, self._mapping.quote.encode()
        has_quotes = bool(quote) and quote in block
        if mapping.escape and has_quotes and (self._escape or b"\\") in block:
            return False
        if not mapping.delimiter.isascii() or (self._escape in block and len(self._escape) > 1):
            return False
        if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
            return False
        if block.startswith((b"\n", b"\r")) or b"\n\n" in block or b"\n\r" in block:
            return False
        return not has_quotes or (len(quote) == 1 and _quotes_close(block, quote, mapping.delimiter))

    def _plain(self, block: bytes) -> Iterator[Records]:
        broken: list[Broken] = []

        def keep(row: Any) -> str:
            number = row.number - 1
            fault = f"expected {len(self._names)} fields, found {row.actual_columns}"
            broken.append(Broken(first + number, self._line + number, MALFORMED, fault, row.text))
            return "skip"

        first, quote = self._counts.records, self._mapping.quote
        names = [str(place) for place in range(len(self._names))]
        wanted = [str(place) for place in self._wanted.values()]
        try:
            table = arrow_csv.read_csv(
                io.BytesIO(block),
                arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=len(block) + 1),
                arrow_csv.ParseOptions(
                    delimiter=self._mapping.delimiter,
                    quote_char=quote if quote and quote.encode() in block else False,
                    invalid_row_handler=keep,
                ),
                arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()),
                    include_columns=wanted,
                    null_values=[self._mapping.escape + "N"],
                    strings_can_be_null=bool(self._escape),
                ),
            )
        except pa.ArrowInvalid:  # bytes that are no UTF-8
            lines = _lines(decode_block(block, self._mapping.encoding))
            yield self._by_line(lines, undecodable=True, last=True)[0]
            return
        number = table.num_rows + len(broken)
        kept = np.ones(number, bool)
        kept[[record.number - first for record in broken]] = False
        places = np.flatnonzero(kept)
        columns = {name: table.column(str(place)).combine_chunks() for name, place in self._wanted.items()}
        self._counts.records += number
        yield Records(places + first, columns, broken, places + self._line)
        self._line += number

    def _by_line(self, lines: list[str], undecodable: bool, *, last: bool) -> tuple[Records, int]:
        """Return the records of lines, and the number of lines used: the last record may go on after them."""
        counts, width, at = self._counts, len(self._names), 0
        rows: list[Fields] = []
        numbers: list[int] = []
        starts: list[int] = []
        broken: list[Broken] = []
        base = self._line
        while at < len(lines):
            line = lines[at] = lines[at].removeprefix("\ufeff")  # of a file that was put behind another
            if not line or line == "\r":
                counts.blank += 1
                at += 1
                continue
            used, reason = 1, ""
            fields: Fields = []
            try:
                fields, used = self._tokens.fields(lines, at, last_lines=last)
            except MoreLinesNeeded:
                break
            except UnreadableRecordError as error:
                reason, fault = MALFORMED, str(error)
            if not reason and len(fields) != width:
                reason, fault = MALFORMED, f"expected {width} fields, found {len(fields)}"
                used = 1
            if undecodable and is_undecodable(line if used == 1 else "".join(lines[at : at + used])):
                reason, fault = NOT_OF_ENCODING, f"bytes that are not {self._mapping.encoding}"
                used = 1
            if reason:
                broken.append(Broken(counts.records, base + at, reason, fault, printable(line.removesuffix("\r"))))
            else:
                rows.append(fields)
                numbers.append(counts.records)
                starts.append(base + at)
            counts.records += 1
            counts.continued += used - 1
            at += used
        self._line = base + at
        by_column = list(zip(*rows, strict=True)) or [()] * width
        columns = {name: pa.array(by_column[place], pa.string()) for name, place in self._wanted.items()}
        return Records(np.array(numbers, np.int64), columns, broken, np.array(starts, np.int64)), at

    def _is_record(self, fields: list[str]) -> bool:
        time = self._mapping.columns["log_time"]
        place = self._wanted.get(time) if isinstance(time, str) else None
        return place is not None and len(fields) == len(self._names) and self._is_time(fields[place])

    def _header(self, lines: list[str]) -> int:
        """Decide on the columns by the first record that is not blank; return the number of lines before the data."""
        at = next((at for at, line in enumerate(lines) if line not in ("", "\r")), len(lines))
        if at == len(lines):
            return 0
        try:
            first, used = self._tokens.fields(lines, at, last_lines=True)
        except UnreadableRecordError as error:
            raise InvalidInputError(
                f"{self._label}, line {at + 1}: expected a header or a record, found {error}."
            ) from None
        fields = [printable(name or "") for name in first]
        names = [name.strip() for name in fields]
        is_header = self._is_header(names)
        self._settle(names if is_header else self._mapping.names, fields)
        self._counts.blank += at
        if is_header:
            self._counts.header = used
            at += used
        self._line += at
        return at

    def _is_header(self, first: list[str]) -> bool:
        """Return whether the first record is a header; with `auto`, if it holds two of the names: one may be renamed."""
        if self._mapping.header != "auto":
            return self._mapping.header == "true"
        return not self._mapping.names or len({*self._mapping.sources()} & {*first}) > 1

    def _settle(self, names: list[str], fields: list[str]) -> None:
        wanted = self._mapping.sources()
        problem = columns_fault(names, self._mapping)
        if problem is None and len(names) != len(fields):
            problem = f"expected {len(names)} fields, found {len(fields)}"
        if problem:
            raise InvalidInputError(
                f"{self._label} has a wrong header: {problem}. Line 1 begins: {', '.join(fields[:12])[:300]}. "
                "Correct the file, or 'columns', 'names', 'header' or 'delimiter' in the mapping (`ctr map FILE` proposes one)."
            )
        self._names = names
        self._wanted = {name: names.index(name) for name in wanted if name in names}


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n")


def _after_lines(block: bytes, number: int) -> bytes:
    """Return a block of lines without its first ones."""
    parts = block.split(b"\n", number)
    return parts[number] if number < len(parts) else b""


def _lines_with_escapes(block: bytes, ends: Numbers, escape: bytes, delimiter: bytes) -> Mask:
    """Return which lines, given by where they end, have an escape that is not a whole null, or go on from one that has."""
    data = np.frombuffer(b"\n" + block + b"\n\n", np.uint8)
    at = np.flatnonzero(data == escape[0])
    before, following, after = data[at - 1], data[at + 1], data[at + 2]
    is_end = np.isin(np.stack([before, after]), np.frombuffer(delimiter + b"\n\r", np.uint8)).all(axis=0)
    is_null = is_end & (following == ord("N")) & (delimiter != b"N")
    special = np.zeros(len(ends), bool)
    special[np.searchsorted(ends, at[~is_null] - 1, side="right")] = True
    goes_on = at[following == ord("\n")] - 1
    after_it = np.searchsorted(ends, goes_on, side="right") + 1
    special[after_it[after_it < len(ends)]] = True
    return special


def _quotes_close(block: bytes, quote: bytes, delimiter: str) -> bool:
    """Return whether every quote of a block of lines opens a field, closes one in the same line, or is doubled inside one."""
    data = np.frombuffer(block if block.endswith(b"\n") else block + b"\n", np.uint8)
    quotes = np.flatnonzero(data == quote[0])
    if len(quotes) % 2:
        return False
    opens, closes = quotes[0::2], quotes[1::2]
    doubled = closes[:-1] + 1 == opens[1:]
    before, after = data[opens - 1], data[closes + 1]
    opening = (before == ord(delimiter)) | (before == ord("\n")) | (opens == 0)
    closing = (after == ord(delimiter)) | (after == ord("\n")) | (after == ord("\r"))
    opening[1:] |= doubled
    closing[:-1] |= doubled
    ends = np.flatnonzero(data == ord("\n"))
    return bool(opening.all() and closing.all() and (np.searchsorted(quotes, ends) % 2 == 0).all())


def columns_fault(names: list[str], mapping: Mapping) -> str | None:
    """Return what is wrong with the columns of a file, or None.

    With `unmapped: error` an unknown column is one: a renamed optional column would otherwise read as null, unseen. A column
    that a log may lack then may be absent.
    """
    wanted = mapping.sources()
    may_lack = {source for name, source in mapping.columns.items() if name in OPTIONAL_RAW_COLUMNS}
    strict = mapping.unmapped == "error"
    absent = [name for name in wanted if name not in names]
    faults = [f"expected column '{name}', which is missing" for name in absent if not (strict and name in may_lack)]
    for name in names if strict else ():
        if name not in wanted:
            close = difflib.get_close_matches(name.strip().lower(), absent or wanted or RAW_COLUMNS, n=1, cutoff=0.5)
            faults.append(f"found the unknown column '{name}'" + (f" (did you mean '{close[0]}'?)" if close else ""))
    faults += [
        f"found column '{name}' more than once"
        for name in sorted({n for n in names if names.count(n) > 1 and n in wanted})
    ]
    return "; ".join(faults) or None
