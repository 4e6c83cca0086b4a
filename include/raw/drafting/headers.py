"""Whether the first record of delimited text is a header."""

import re

from include.raw.drafting.vocabulary import NAMES, name_score
from include.raw.reading.tokens import Fields

_VALUE = re.compile(r"[+-]?[\d.,:/ -]+([eE][+-]?\d+)?|\d{4}-\d\d-\d\d.*|\\N|true|false", re.IGNORECASE)


def names_of(first: Fields) -> list[str]:
    """Return the names in a header as the reader takes them."""
    return [(name or "").strip() for name in first]


def is_header(records: list[Fields]) -> bool:
    """Return whether the first record holds names: none of them a value, and columns known by name or unlike what is below."""
    names = names_of(records[0])
    if not names or any(name and _VALUE.fullmatch(name) for name in names) or sum(not name for name in names) > 1:
        return False
    if len({*names}) < len(names):
        return False
    known = sum(any(name_score(role, name) >= 40 for role in NAMES) for name in names)
    if known > 1:
        return True
    below = records[1:200]
    return any(
        below and all(_VALUE.fullmatch((record[place] or "0").strip() or "0") for record in below)
        for place in range(len(names))
    )
