"""The delimiter, quote and escape of delimited text: those with which the reader takes a whole sample, and that fit its traits.

Every candidate is read by the tokenizer that reads the log later. Where two read the sample without a fault but differently, and
nothing tells which of them wrote it, the dialect is undecided: a person has to say.
"""

import re
from collections import Counter
from dataclasses import dataclass, field

from include.mapping.mapping import Mapping
from include.raw.drafting.wording import shown_value
from include.raw.reading.tokens import Fields, MoreLinesNeeded, Tokenizer, UnreadableRecordError

DELIMITERS = ("\x01", "\t", ",", ";", "|", "\x02", "\x1f", "^", "~")
_NEVER_QUOTED = ("\x01", "\t", "\x02", "\x1f")
"""Delimiters of logs whose writers (MySQL, Hive, PostgreSQL) quote nothing by default."""
LINES = 2_000
ENOUGH = 20
"""So many values that are all written as a dialect would write them are no chance."""
ENOUGH_DOUBLED = 4
"""So many for values in quotes in which each quote is doubled, which hardly happens by chance."""
_TIME = re.compile(
    r'"?(\d{4}[-/.]?\d\d[-/.]?\d\d\b.*|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b.*|1\d{9}(\d{3}|\d{6}|\d{9})?(\.\d+)?|\d{10}|\d{12}|\d{14})"?'
)
_SIMPLE = re.compile(r"[\w.-]+( [\w.-]+)*")


@dataclass(frozen=True)
class Dialect:
    """How fields and records are told apart."""

    delimiter: str
    quote: str
    escape: str


@dataclass
class Reading:
    """What a dialect makes of the sample: its records of `width` fields, and the number of lines that it cannot take."""

    dialect: Dialect
    records: list[Fields]
    width: int
    faults: int

    def table(self) -> list[list[str]]:
        """Return the records for comparison; a null is `\\N`, as that spelling becomes one."""
        return [["\\N" if value is None else value for value in record] for record in self.records]


@dataclass
class Guess:
    """The chosen reading, what else could be, and why."""

    reading: Reading
    undecided: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)
    others: list[Reading] = field(default_factory=list)


def guess_dialect(lines: list[str], is_whole: bool) -> Guess | None:
    """Return the dialect of a sample, None where no delimiter splits its lines into the same number of fields."""
    head, head_is_whole = lines[:LINES], is_whole and len(lines) <= LINES
    best: tuple[tuple[bool, float, int], Guess] | None = None
    for delimiter in DELIMITERS:
        if not any(delimiter in line for line in head):
            continue
        guess = _of_delimiter(head, delimiter, head_is_whole)
        reading = guess.reading
        if reading.width < 2 or reading.faults > len(head) / 2:
            continue
        rank = (_has_times(reading), round(1 - reading.faults / len(head), 2), reading.width)
        if best is None or rank > best[0]:
            best = (rank, guess)
    if best is None or len(head) == len(lines):
        return best[1] if best else None
    return _of_delimiter(lines, best[1].reading.dialect.delimiter, is_whole)  # a quote is often far from the beginning


def _has_times(reading: Reading) -> bool:
    rows = reading.records[1:201] or reading.records
    for place in range(reading.width):
        values = [value for row in rows if (value := row[place])]
        if values and sum(bool(_TIME.fullmatch(value.strip())) for value in values) > 0.9 * len(values):
            return True
    return False


def _of_delimiter(lines: list[str], delimiter: str, is_whole: bool) -> Guess:
    quoted = [('"', ""), ('"', "quote"), ('"', "\\")]
    unquoted = [("", ""), ("", "\\")]
    styles = [*quoted[:2], *unquoted, quoted[2]] if delimiter in _NEVER_QUOTED else quoted
    readings = [_read(lines, Dialect(delimiter, *style), is_whole) for style in styles]
    if delimiter not in _NEVER_QUOTED:
        fewest = min(reading.faults for reading in readings)
        others = [_read(lines, Dialect(delimiter, *style), is_whole) for style in unquoted]
        readings += [reading for reading in others if reading.faults < fewest]
    if any(delimiter + "'" in line for line in lines) and min(reading.faults for reading in readings):
        readings.append(_read(lines, Dialect(delimiter, "'", ""), is_whole))
    fewest = min(reading.faults for reading in readings)
    readings = [reading for reading in readings if reading.faults == fewest]
    traits = _Traits(lines, delimiter, readings[0].width)
    if not _differ(readings):
        return Guess(readings[0], why=traits.words(readings[0].dialect))
    fitting = [reading for reading in readings if traits.fit(reading.dialect)] or readings
    if _differ(fitting):
        fitting = [reading for reading in fitting if traits.are_proof_of(reading.dialect)] or fitting
    fitting = _distinct(fitting)
    guess = Guess(fitting[0], why=traits.words(fitting[0].dialect), others=fitting[1:])
    if guess.others:
        guess.undecided = [
            key for key in ("quote", "escape") if len({getattr(reading.dialect, key) for reading in fitting}) > 1
        ]
    return guess


def _distinct(readings: list[Reading]) -> list[Reading]:
    """Return the first of those that read the same."""
    found: list[Reading] = []
    for reading in readings:
        if all(_differ([reading, other]) for other in found):
            found.append(reading)
    return found


def _differ(readings: list[Reading]) -> bool:
    first = readings[0].table()
    return any(reading.table() != first for reading in readings[1:])


def _read(lines: list[str], dialect: Dialect, is_whole: bool) -> Reading:
    taken = _records(lines, dialect, 0, is_whole)
    widths = Counter(len(record) for record, _ in taken if record)
    most = max(widths.values(), default=0)
    width = next((len(record) for record, _ in taken if record and widths[len(record)] == most), 0)
    if any(used > 1 for _, used in taken):  # again, now that a line which is a record in itself can be told
        taken = _records(lines, dialect, width, is_whole)
    records = [record for record, _ in taken if record and len(record) == width]
    faults = sum(used for record, used in taken if not record or len(record) != width)
    return Reading(dialect, records, width, faults)


def _records(lines: list[str], dialect: Dialect, width: int, is_whole: bool) -> list[tuple[Fields, int]]:
    """Return the records and their numbers of lines; one without fields is a line that cannot be read."""
    mapping = Mapping.model_construct(delimiter=dialect.delimiter, quote=dialect.quote, escape=dialect.escape)
    tokens = Tokenizer(mapping, lambda fields: len(fields) == width)
    taken: list[tuple[Fields, int]] = []
    at = 0
    while at < len(lines):
        if lines[at] in ("", "\r"):
            at += 1
            continue
        try:
            record = tokens.fields(lines, at, last_lines=is_whole)
        except MoreLinesNeeded:  # it may be whole in the file
            break
        except UnreadableRecordError:
            record = [], 1
        taken.append(record)
        at += record[1]
    return taken


class _Traits:
    """How the quotes and backslashes of a sample are used, and which writers use them so."""

    def __init__(self, lines: list[str], delimiter: str, width: int) -> None:
        self.wrapped = self.stray = self.doubled = 0
        self.needed_quotes = False
        needless: Counter[int] = Counter()
        plain: Counter[int] = Counter()
        for number, line in enumerate(lines):
            parts = line.removesuffix("\r").split(delimiter)
            if len(parts) != width:
                self.needed_quotes = self.needed_quotes or '"' in line
                continue
            for place, part in enumerate(parts):
                if len(part) > 1 and part[0] == part[-1] == '"':
                    self.wrapped += 1
                    self.doubled += '""' in re.sub(r"\\.", "", part[1:-1])
                    needless[place] += bool(_SIMPLE.fullmatch(part[1:-1]))
                elif '"' in part:
                    self.stray += part[0] != '"'
                elif number and part and part != "\\N":
                    plain[place] += 1
        self.odd_quotes = sum(count for place, count in needless.items() if plain[place])
        text = "\n".join(lines)
        self.backslashes = text.count("\\")
        escapes = re.findall(r"\\(.|\Z)", text, re.S)
        allowed = {*"\\0bnrtZ\"'\n", delimiter}
        nulls = len(re.findall(rf"(?:^|{re.escape(delimiter)})\\N(?=\r?$|{re.escape(delimiter)})", text, re.M))
        others = [character for character in escapes if character not in allowed]
        self.odd_escapes = len(others) - nulls if others.count("N") >= nulls else len(others)
        self.escaped_marks = sum(character in ('"', delimiter, "\n") for character in escapes)
        self.values_with_pairs = len(
            {part for part in re.split(rf"[{re.escape(delimiter)}\n]", text) if "\\\\" in part or '\\"' in part}
        )
        inside = re.findall(rf'(?:^|{re.escape(delimiter)})"((?:[^"\\]|\\.)*)"', text, re.M | re.S)
        self.odd_spark = sum(bool(re.search(r"\\[^\\\"]", re.sub(r'\\[\\"]', "", content))) for content in inside)

    def fit(self, dialect: Dialect) -> bool:
        """Return whether a writer of the dialect could have written the sample."""
        if dialect.quote and (self.stray or self.odd_quotes):
            return False
        if dialect.escape == "\\":
            return not self.odd_escapes
        if dialect.escape == "quote":
            return not self.odd_spark and not self.doubled
        return True

    def are_proof_of(self, dialect: Dialect) -> bool:
        """Return whether there are so many of the dialect's traits that no other writer's values have them by chance."""
        if dialect.escape == "\\":
            return self.escaped_marks >= ENOUGH or self.values_with_pairs >= ENOUGH
        if not dialect.quote or dialect.escape or self.backslashes:
            return False
        return self.wrapped >= ENOUGH or self.doubled >= ENOUGH_DOUBLED

    def words(self, dialect: Dialect) -> list[str]:
        """Return what was seen, for the comment of the draft."""
        seen = []
        if not dialect.quote and (self.stray or self.wrapped or self.needed_quotes):
            seen.append("quotes do not behave as quotes here: they stand in the values")
        elif dialect.quote and (self.wrapped or self.needed_quotes):
            seen.append(f"values in {dialect.quote} were seen")
        if dialect.escape:
            seen.append(f"{self.backslashes:,} backslashes were seen, which escape what follows them")
        elif self.backslashes:
            seen.append(f"{self.backslashes:,} backslashes were seen, which stand in the values")
        return seen


def difference(guess: Guess) -> list[str]:
    """Return what undecided readings make of one value or two, a line for each."""
    readings = [guess.reading, *guess.others]
    seen: set[tuple[int, ...]] = set()
    lines = []
    for number, rows in enumerate(zip(*(reading.table() for reading in readings), strict=False), 1):
        place = next((place for place, values in enumerate(zip(*rows, strict=False)) if len({*values}) > 1), None)
        if place is None or len(seen) > 1:
            continue
        values = [row[place] for row in rows]
        alike = tuple(values.index(value) for value in values)
        if alike not in seen:
            seen.add(alike)
            pairs = zip(readings, values, strict=True)
            lines += [
                f"{_keys(reading.dialect)} reads in record {number}: {shown_value(value)}" for reading, value in pairs
            ]
    return lines or [f"{_keys(reading.dialect)} reads {len(reading.records):,} records" for reading in readings]


def _keys(dialect: Dialect) -> str:
    quote = {'"': "'\"'", "": '""'}.get(dialect.quote, f'"{dialect.quote}"')
    escape = {"\\": '"\\\\"', "": '""'}.get(dialect.escape, dialect.escape)
    return f"quote: {quote}, escape: {escape}"
