"""The rules of `CTR_RAW_COMPLETE`: what a day's raw files must show before a run reads them.

    marker or quiet:5                     the deliverer's `_SUCCESS`, else five minutes without a change
    manifest:_MANIFEST.json               a JSON file in the day's folder that says which files the day has
    marker:_DONE-{yyyyMMdd}, files:24     this marker, and at least 24 files

Commas separate rules that must all hold; `or` joins alternatives, of which one must hold. `include/raw/completeness.py` looks
whether they do.
"""

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

MARKER = "_SUCCESS"
"""The marker file that Hadoop and Spark write; its name where a rule gives none."""
_CODES = {"yyyy": "%Y", "MM": "%m", "dd": "%d"}
_PART = re.compile("|".join(_CODES))
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FORMS = "marker[:NAME], manifest:NAME, quiet:MINUTES, files:NUMBER"


@dataclass(frozen=True)
class Marker:
    """A file that the deliverer writes last, at a path in the day's folder; `{yyyyMMdd}` in it is the day."""

    name: str


@dataclass(frozen=True)
class ManifestFile(Marker):
    """A JSON file that lists the day's files (`include/raw/completeness.py`)."""


@dataclass(frozen=True)
class Quiet:
    """Nothing was added, changed or removed for some minutes."""

    minutes: float


@dataclass(frozen=True)
class FileCount:
    """At least this many files are there."""

    files: int


Rule = Marker | ManifestFile | Quiet | FileCount
Rules = tuple[tuple[Rule, ...], ...]
"""All must hold, each by one of its alternatives."""


@lru_cache(maxsize=4)
def parse_rules(text: str) -> Rules:
    """Return the rules that a text spells; raises `ValueError` that names the part at fault."""
    return tuple(
        tuple(_rule(alternative.strip()) for alternative in re.split(r"\s+or\s+", clause)) for clause in text.split(",")
    )


def name_of_day(name: str, day: date) -> str:
    """Return the name of a marker with its placeholders filled in."""
    return _PLACEHOLDER.sub(lambda match: _PART.sub(lambda part: day.strftime(_CODES[part[0]]), match[1]), name)


def _rule(text: str) -> Rule:
    kind, separator, value = text.partition(":")
    if kind == "marker" and (value or not separator):
        return Marker(_checked_name(value or MARKER))
    if kind == "manifest" and value:
        return ManifestFile(_checked_name(value))
    if kind == "quiet" and re.fullmatch(r"\d+(\.\d+)?", value):
        return Quiet(float(value))
    if kind == "files" and re.fullmatch(r"[1-9]\d*", value):
        return FileCount(int(value))
    raise ValueError(f"expected rules of the forms {_FORMS}, such as 'marker or quiet:5'; '{text}' is none")


def _checked_name(name: str) -> str:
    placeholders = _PLACEHOLDER.findall(name)
    known = all(re.fullmatch(r"(yyyy|MM|dd|[-_])+", placeholder) for placeholder in placeholders)
    if not known or re.search(r"[{}\s]", _PLACEHOLDER.sub("", name)) or {"", ".", ".."} & {*name.split("/")}:
        raise ValueError(
            f"'{name}' is no name of a marker: expected a path in the day's folder, such as {MARKER} or "
            "_DONE-{yyyyMMdd}, with no other placeholders than {yyyy}, {MM}, {dd} and those together"
        )
    return name
