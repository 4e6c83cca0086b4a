"""The fields of one record of delimited text, where it has quotes or escapes: strictly, so that no line is swallowed."""

import csv
import re
from collections.abc import Callable, Iterator

from include.mapping.mapping import Mapping

MAX_RECORD_CHARACTERS = 32 << 20
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "0": "\0", "Z": "\x1a"}
Fields = list[str | None]


class UnreadableRecordError(Exception):
    """A line with which no record can begin, and why."""


class MoreLinesNeeded(Exception):
    """A record that goes on after the lines that are there."""


class Tokenizer:
    """Splits lines into the fields of records, by the delimiter, quote and escape of a mapping.

    Quotes are taken strictly: one that opens a field is closed before a delimiter or a line end, or its line is unreadable. So
    is one that closes on a later line after lines that are records in themselves: `is_record` recognises those.
    """

    def __init__(self, mapping: Mapping, is_record: Callable[[list[str]], bool]) -> None:
        self._delimiter = mapping.delimiter
        self._quote = mapping.quote
        self._is_record = is_record
        self._only_quotes = mapping.escape == "quote"
        self._escape = "\\" if self._only_quotes else mapping.escape
        csv.field_size_limit(MAX_RECORD_CHARACTERS)
        d, q, e = map(re.escape, (self._delimiter, self._quote, self._escape))
        if self._only_quotes:
            self._unquoted = re.compile(f"[^{d}\n]*")
            self._quoted = re.compile(f"{q}((?:[^{q}{e}]|{e}.|{q}{q})*+){q}", re.S)
            self._escaped = re.compile(f"{e}([{q}{e}])|{q}({q})")  # Spark doubles a backslash inside quotes
        elif self._escape:
            self._unquoted = re.compile(f"(?:[^{d}{e}\n]|{e}.)*", re.S)
            self._quoted = re.compile(f"{q}((?:[^{q}{e}]|{e}.|{q}{q})*+){q}", re.S)
            self._escaped = re.compile(f"{e}(.)" + (f"|{q}({q})" if q else ""), re.S)
        elif self._quote:
            self._unquoted = re.compile(f"[^{d}\n]*")
            self._quoted = re.compile(f"{q}((?:[^{q}]|{q}{q})*+){q}")

    def is_plain(self, line: str) -> bool:
        """Return whether a line is one record, whose fields stand between delimiters as they are."""
        return not (self._quote and self._quote in line) and not (self._escape and self._escape in line)

    def fields(self, lines: list[str], first: int, *, last_lines: bool) -> tuple[Fields, int]:
        """Return the fields of the record that begins on a line, and the number of its lines.

        Raises `UnreadableRecordError`; `MoreLinesNeeded` where it goes on after `lines`, unless these are the last.
        """
        line = lines[first]
        if self.is_plain(line):
            return list(line.removesuffix("\r").split(self._delimiter)), 1
        fields, used = (self._escaped_record if self._escape else self._quoted_record)(lines, first, last_lines)
        # A value of several lines may itself look like a record from its second line on, but then its first line does not.
        if used > 1 and self._is_alone(line) and any(map(self._is_alone, lines[first + 1 : first + used])):
            raise UnreadableRecordError("a quote that is closed on another line, after a line that is a record")
        return fields, used

    def _is_alone(self, line: str) -> bool:
        """Return whether a line is a record if its quotes and escapes mean nothing."""
        return self._is_record(line.removesuffix("\r").split(self._delimiter))

    def _quoted_record(self, lines: list[str], first: int, last_lines: bool) -> tuple[Fields, int]:
        used = 0

        def feed() -> Iterator[str]:
            nonlocal used
            for at in range(first, len(lines)):
                used += 1
                yield lines[at] + "\n"

        reader = csv.reader(feed(), delimiter=self._delimiter, quotechar=self._quote, strict=True)
        try:
            return list(next(reader)), used
        except csv.Error as error:
            if "new-line character" in str(error):  # a carriage return inside a field without quotes
                return self._escaped_record(lines, first, last_lines)
            if first + used == len(lines) and "unexpected end" in str(error):
                if not last_lines:
                    raise MoreLinesNeeded from None
                raise UnreadableRecordError("a quote that is never closed") from None
            raise UnreadableRecordError(f"quotes that do not close at the end of their field ({error})") from None

    def _escaped_record(self, lines: list[str], first: int, last_lines: bool) -> tuple[Fields, int]:
        text, used = lines[first], 1
        fields: Fields = []
        at = 0
        while True:
            is_quoted = bool(self._quote) and text.startswith(self._quote, at)
            match = (self._quoted if is_quoted else self._unquoted).match(text, at)
            goes_on = match is None or (bool(self._escape) and text.startswith(self._escape, match.end()))
            if goes_on:
                if first + used == len(lines):
                    if not last_lines:
                        raise MoreLinesNeeded
                    raise UnreadableRecordError("a quote or an escape that goes on after the last line")
                if len(text) > MAX_RECORD_CHARACTERS:
                    raise UnreadableRecordError(f"a record of more than {MAX_RECORD_CHARACTERS:,} characters")
                text += "\n" + lines[first + used]
                used += 1
                continue
            assert match is not None
            at = match.end()
            rest = text[at:]
            if rest and rest[0] != self._delimiter and rest != "\r":
                raise UnreadableRecordError("text after the quote that closes a field")
            fields.append(self._value(match[1] if is_quoted else match[0], is_quoted, not rest or rest == "\r"))
            if not rest or rest == "\r":
                return fields, used
            at += 1

    def _value(self, text: str, is_quoted: bool, is_last: bool) -> str | None:
        if not is_quoted and is_last:
            text = text.removesuffix("\r")
        if not self._escape:
            return text.replace(self._quote * 2, self._quote) if is_quoted else text
        if self._only_quotes:
            return self._escaped.sub(lambda match: match[1] or match[2], text) if is_quoted else text
        if not is_quoted and text == f"{self._escape}N":
            return None
        return self._escaped.sub(self._unescaped, text) if self._escape in text or self._quote in text else text

    def _unescaped(self, match: re.Match[str]) -> str:
        character = match[1]
        if character is None:
            return match[2]
        return _CONTROLS.get(character, character) if self._escape == "\\" else character
