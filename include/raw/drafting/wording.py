"""Values of a log in the lines of a YAML file: as scalars, and in comments, where nothing of theirs may end the line."""

import re
from collections.abc import Iterable

import yaml

_PLAIN = re.compile(r"(?!(?:null|true|false|yes|no|on|off|y|n)$)[A-Za-z_\u4e00-\u9fff][\w./-]*", re.IGNORECASE)
_LONGEST = 60


def shown_value(value: str | None) -> str:
    """Return a value for a comment: in quotes, in one line, cut."""
    if value is None:
        return "null"
    text = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
    return "'" + "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in text) + "'"


def shown_values(values: list[str], most: int = 4) -> str:
    """Return some values for a comment."""
    return ", ".join(map(shown_value, values[:most])) + (", …" if len(values) > most else "")


def scalar(value: str) -> str:
    """Return a text as a YAML scalar in one line."""
    if _PLAIN.fullmatch(value):
        return value
    return str(yaml.safe_dump(value, default_style='"', allow_unicode=True, width=1 << 30)).strip()


def flow(values: Iterable[str]) -> str:
    """Return texts as a YAML list in one line."""
    return "[" + ", ".join(map(scalar, values)) + "]"
