"""The pattern of the files of a log day, from the paths of some of them."""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from include.mapping.file_pattern import FilePattern

_DAY = re.compile(
    r"(?<!\d)(20\d\d)([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?:([-_T]?)([01]\d|2[0-3])(?!\d))?(?!\d)"
)
_YEAR = re.compile(r"(.*?)(20\d\d)$")
_PART = re.compile(r"(.*?)(\d\d)$")
_ENDING = re.compile(
    r"(\.(?:csv|tsv|txt|log|json|jsonl|ndjson|parquet|orc|dat))?((?:\.snappy|\.gz|\.bz2|\.zst|\.xz|\.zlib)?)$", re.I
)


@dataclass(frozen=True)
class PathGuess:
    """The root of the raw logs, the pattern under it, and the day of the first file."""

    root: str
    pattern: str


def guess_paths(paths: list[str]) -> PathGuess | None:
    """Return where the files of a day lie, None where the paths name no day or do not agree."""
    full = [path if "://" in path else f"file://{Path(path).resolve()}" for path in paths]
    guesses = [_guess(path) for path in full]
    first = guesses[0]
    if first is None or any(guess is None or guess.root != first.root for guess in guesses):
        return None
    patterns = {guess.pattern for guess in guesses if guess}
    if len(patterns) == 1:
        return first
    folders = {pattern.rsplit("/", 1)[0] if "/" in pattern else None for pattern in patterns}
    if len(folders) == 1 and (folder := folders.pop()):
        return PathGuess(first.root, f"{folder}/*")
    return None


def _guess(path: str) -> PathGuess | None:
    scheme, _, rest = path.partition("://")
    parts = rest.split("/")
    for at in range(len(parts)):
        pattern = _day_in(parts, at)
        if pattern:
            root = f"{scheme}://{'/'.join(parts[:at])}"
            try:
                FilePattern(pattern)
            except ValueError:
                return None
            return PathGuess(root, pattern)
    return None


def _day_in(parts: list[str], at: int) -> str | None:
    """Return the pattern of a path whose day begins in one of its parts."""
    match = _DAY.search(parts[at])
    if match and _is_day(match[1], match[3], match[4]):
        mark = match[2]
        hour = f"{match[5]}{{HH}}" if match[6] else ""
        folder = f"{parts[at][: match.start()]}{{yyyy{mark}MM{mark}dd}}{hour}"
        after = parts[at][match.end() :]
        if at == len(parts) - 1:
            return f"{_literal(parts[at][: match.start()])}{{yyyy{mark}MM{mark}dd}}{hour}{_rest(after)}"
        return "/".join([folder + after, *_below(parts[at + 1 :])])
    months = parts[at + 1 : at + 3]
    year = _YEAR.fullmatch(parts[at])
    found = [_PART.fullmatch(part) for part in months]
    if year and len(parts) > at + 3 and all(found) and _is_day(year[2], found[0][2], found[1][2]):  # type: ignore[index]
        folders = [f"{year[1]}{{yyyy}}", f"{found[0][1]}{{MM}}", f"{found[1][1]}{{dd}}"]  # type: ignore[index]
        return "/".join([*folders, *_below(parts[at + 3 :])])
    return None


def _is_day(year: str, month: str, day: str) -> bool:
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True


def _below(parts: list[str]) -> list[str]:
    """Return the pattern of what lies under the folder of a day: files by their ending, in folders of hours or others too."""
    ending = _ENDING.search(parts[-1])
    kind = ending[1].lower() if ending and ending[1] else ""
    last = f"*{kind}{{,.gz,.bz2,.zst,.xz}}" if kind and kind.lower() not in (".parquet", ".orc") else f"*{kind}"
    return ["**", last]


def _literal(text: str) -> str:
    """Return the beginning of a name, in which numbers vary."""
    return re.sub(r"\d+", "*", text).replace("{", "*").replace("}", "*")


def _rest(after: str) -> str:
    ending = _ENDING.search(after)
    kind, packed = (ending[1] or "", ending[2]) if ending else ("", "")
    between = after[: len(after) - len(kind + packed)]
    return (
        ("*" if between else "")
        + kind
        + ("{,.gz,.bz2,.zst,.xz}" if kind and kind.lower() not in (".parquet", ".orc") else packed)
    )
