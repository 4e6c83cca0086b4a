"""Where the files of a log day lie: a pattern of paths under the root of the raw logs.

    date={yyyy-MM-dd}/**/*.csv{,.gz}      a folder a day, folders below it allowed
    {yyyy}/{MM}/{dd}/{HH}/*               a folder an hour
    impressions-{yyyyMMdd}*.json.gz       one folder with the day in the name

`{yyyy}`, `{MM}`, `{dd}` and `{HH}` are two or four digits, alone or together with `-` and `_` between them; `*` is any part of a
name, `**` any number of folders, `{,.gz}` one of several endings. Case matters only in folders. Names that begin with `.` or `_`
are never read; what `ctr import` rejected always is.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

_FIELDS = {
    "yyyy": ("y", r"\d{4}", "%Y"),
    "MM": ("m", r"\d\d", "%m"),
    "dd": ("d", r"\d\d", "%d"),
    "HH": ("h", r"\d\d", ""),
}
_TOKEN = re.compile(r"\{((?:yyyy|MM|dd|HH|[-_])+)\}|\{([^{}/]*,[^{}/]*)\}|(\*)|([^*{}]+)|([{}])")
_PART = re.compile("yyyy|MM|dd|HH|[-_]")

REJECTS = ".rejects.jsonl.gz"
"""End of the name of a file of what `ctr import` rejected: the day's quarantine takes it in."""
_SPELLINGS = ("%Y%m%d", "%Y-%m-%d", "%Y_%m_%d", "%Y.%m.%d")
"""How the name of a file may spell its day: one that does, and that the pattern does not take, is not left out unsaid."""
List = Callable[[str], list[tuple[str, bool]]]
"""Returns the names in a folder (path under the root), each with whether it is a folder."""


@dataclass(frozen=True)
class DayPaths:
    """The files of a day, sorted: those that the pattern takes, and whatever else lies there and would be left out."""

    read: tuple[str, ...]
    unread: tuple[str, ...]


class FilePattern:
    """A pattern of paths, such as `date={yyyy-MM-dd}/**/*.csv`; raises `ValueError` for one that names no whole day."""

    def __init__(self, text: str) -> None:
        self.text = text.strip("/")
        self._segments = self.text.split("/")
        if self._segments[-1] == "**":
            self._segments.append("*")
        found = {field for segment in self._segments for field, _ in _groups(segment)}
        if missing := [name for name in ("yyyy", "MM", "dd") if _FIELDS[name][0] not in found]:
            raise ValueError(
                f"'{text}' does not say where {', '.join(f'{{{name}}}' for name in missing)} of the day stands: "
                "write a pattern such as dt={yyyyMMdd}/* or {yyyy}/{MM}/{dd}/**"
            )
        if any("**" in segment and segment != "**" for segment in self._segments):
            raise ValueError(f"'{text}': ** stands for whole folders, write it between slashes")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FilePattern) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: value if isinstance(value, cls) else cls(value),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda pattern: pattern.text),
        )

    @cached_property
    def _day_depth(self) -> int:
        """The number of leading folders after which the day is known; 0 where only a file's name says it."""
        known: set[str] = set()
        for depth, segment in enumerate(self._segments[:-1], 1):
            known |= {field for field, _ in _groups(segment)}
            if {"y", "m", "d"} <= known:
                return depth
        return 0

    def folder(self, day: date) -> str:
        """Return the folder of a day, for messages: up to the first part that the day does not determine."""
        fixed = []
        for segment in self._segments[:-1]:
            if segment == "**" or not _is_fixed(segment):
                break
            fixed.append(_filled(segment, day))
        return "/".join(fixed)

    def day_paths(self, day: date, names: List) -> DayPaths:
        """Return the paths of a day's files under the root."""
        read: list[str] = []
        unread: list[str] = []
        self._walk(day, names, "", 0, read, unread)
        return DayPaths(tuple(sorted({*read})), tuple(sorted({*unread} - {*read})))

    def days(self, names: List) -> set[date]:
        """Return the days for which there is a folder or, where only names say the day, a file."""
        return set(self._days(names, "", 0, {}))

    def _days(self, names: List, folder: str, depth: int, known: dict[str, str]) -> Iterator[date]:
        last = depth == len(self._segments) - 1
        for name, is_folder in names(folder):
            match = re.fullmatch(_regex(self._segments[depth], None), name, re.I if last else 0)
            if match is None or is_folder == last or name[0] in "._":
                continue
            found = known | match.groupdict()
            if {"y", "m", "d"} <= found.keys():
                try:
                    yield date(int(found["y"]), int(found["m"]), int(found["d"]))
                except ValueError:
                    continue
            elif not last:
                yield from self._days(names, f"{folder}{name}/", depth + 1, found)

    def _walk(self, day: date, names: List, folder: str, depth: int, read: list[str], unread: list[str]) -> None:
        segment = self._segments[depth]
        last = depth == len(self._segments) - 1
        if not last and segment != "**" and _is_fixed(segment):
            self._walk(day, names, f"{folder}{_filled(segment, day)}/", depth + 1, read, unread)
            return
        own = 0 < self._day_depth <= depth
        for name, is_folder in names(folder):
            if name[0] in "._":
                continue
            if segment == "**":
                if is_folder:
                    self._walk(day, names, f"{folder}{name}/", depth, read, unread)
                else:
                    self._take(day, folder, name, depth + 1, own, read, unread)
            elif last and not is_folder:
                self._take(day, folder, name, depth, own, read, unread)
            elif not last and is_folder and re.fullmatch(_regex(segment, day), name):
                self._walk(day, names, f"{folder}{name}/", depth + 1, read, unread)
            elif own:
                unread.append(f"{folder}{name}{'/' if is_folder else ''}")

    def _take(
        self, day: date, folder: str, name: str, depth: int, own: bool, read: list[str], unread: list[str]
    ) -> None:
        segment = self._segments[depth]
        if re.fullmatch(_regex(segment, day), name, re.I) or (own and name.endswith(REJECTS)):
            read.append(folder + name)
        elif own or any(day.strftime(form) in name for form in _SPELLINGS):
            unread.append(folder + name)


def _groups(segment: str) -> Iterator[tuple[str, str]]:
    for match in _TOKEN.finditer(segment):
        for part in _PART.findall(match[1] or ""):
            if part in _FIELDS:
                yield _FIELDS[part][0], part


def _is_fixed(segment: str) -> bool:
    """Return whether the day alone determines the name."""
    return all(not match[2] and not match[3] and "HH" not in (match[1] or "") for match in _TOKEN.finditer(segment))


def _filled(segment: str, day: date) -> str:
    return "".join(
        "".join(day.strftime(_FIELDS[part][2]) if part in _FIELDS else part for part in _PART.findall(match[1]))
        if match[1]
        else match[0]
        for match in _TOKEN.finditer(segment)
    )


def _regex(segment: str, day: date | None) -> str:
    """Return the expression of one name; with the parts of `day`, or with a group for each part of any day."""
    seen: set[str] = set()
    text = ""
    for match in _TOKEN.finditer(segment):
        placeholders, endings, star, literal, brace = match.groups()
        if placeholders:
            for part in _PART.findall(placeholders):
                group, digits, code = _FIELDS.get(part, ("", "", ""))
                if not group:
                    text += re.escape(part)
                elif day and code:
                    text += day.strftime(code)
                elif day or group in seen:
                    text += digits
                else:
                    seen.add(group)
                    text += f"(?P<{group}>{digits})"
        elif endings is not None:
            text += "(?:" + "|".join(map(re.escape, endings.split(","))) + ")"
        else:
            text += ".*" if star else re.escape(literal or brace)
    return text
