"""The values for which raw rows were rejected, with how many rows have each: what a repair of them has to name."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from math import isinf
from typing import Any

import yaml

from include.lake.lake import Lake
from include.quality.masking import LONGEST_TEXT, masked
from include.quality.quarantine import stripes
from include.quality.repairs import is_number, raw_columns
from include.raw.row_rules import BAD_LABEL, FIELD_TOO_LONG, NOT_A_NUMBER, ROW_RULES, UNKNOWN_SCENE, UNPARSABLE_TIME
from include.schemas import DEEP_FEATURES, RAW_TEXT_COLUMNS
from include.settings import get_settings, list_text

MOST_VALUES = 10
REPAIR_DOCS = 'docs/operations.md, "Rejected rows: look, mend, replay"'
"""Where the form of a repair is described."""
_MOST_COUNTED = 10_000
"""Distinct values of a reason that are counted one by one: times may be as many as rows."""
_COLUMNS = {rule.name: rule.column for rule in ROW_RULES if rule.column}
_SEVERAL = {FIELD_TOO_LONG, NOT_A_NUMBER}
"""Reasons for which any of several columns may be at fault."""


@dataclass(frozen=True)
class Value:
    """A column's value for which rows were rejected, as it may be shown: masked if sensitive, shortened if long."""

    column: str
    value: str
    rows: int


@dataclass
class Values:
    """The values of a reason in most rows, and how many others there are (at least so many) with their rows."""

    most: list[Value] = field(default_factory=list)
    others: int = 0
    other_rows: int = 0


def values_at_fault(lake: Lake, day: date, reason: str | None = None) -> dict[str, Values]:
    """Return the values by reason (of `reason` alone, if given) for which rows of a day were rejected.

    Reasons that no value causes are left out.

    Raises `MissingDataError` where the day is neither staged nor published.
    """
    import pyarrow.compute as pc

    counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    uncounted: Counter[str] = Counter()
    reasons = [name for name in (*_COLUMNS, *_SEVERAL) if reason in (None, name)]
    for stripe in stripes(lake, day, "ctr quarantine"):
        part = stripe.read(["raw", "reasons"])
        rows, row_reasons = pc.list_parent_indices(part["reasons"]), pc.list_flatten(part["reasons"])
        for name in reasons:
            chosen = part.take(rows.filter(pc.equal(row_reasons, name)))
            for key, number in _counted(name, chosen).items() if chosen.num_rows else ():
                if key in counts[name] or len(counts[name]) < _MOST_COUNTED:
                    counts[name][key] += number
                else:
                    uncounted[name] += number
    return {name: _most(counts[name], uncounted[name]) for name in reasons if counts[name]}


def _most(counted: Counter[tuple[str, str]], uncounted: int) -> Values:
    most = counted.most_common(MOST_VALUES)
    values = [Value(column, str(masked(column, value)), rows) for (column, value), rows in most]
    others = len(counted) - len(most) + bool(uncounted)
    return Values(values, others, counted.total() + uncounted - sum(value.rows for value in values))


def _counted(reason: str, rows: Any) -> Counter[tuple[str, str]]:
    """Count rows by column and value at fault, of a record batch with `raw`, all rejected for the reason."""
    if reason in _SEVERAL:
        return Counter(key for row in rows.to_pylist() for key in _faults(reason, row))
    return _by_value(_COLUMNS[reason] or "", rows)


def _by_value(column: str, rows: Any) -> Counter[tuple[str, str]]:
    """Count values of one column, without parsing the whole JSON: a wrong scene may be in millions of rows."""
    import pyarrow.compute as pc

    # A quote inside a JSON text is escaped: the column's name in quotes, with a colon, can only be its key.
    texts = pc.extract_regex(rows["raw"], rf'(?s)^\{{(?:.*,)?"{column}":"(?P<value>(?:[^"\\]|\\.)*)"[,}}]')
    values = pc.struct_field(texts, "value")
    counted: Counter[tuple[str, str]] = Counter()
    for entry in values.drop_null().value_counts().to_pylist():
        counted[column, _unescaped(entry["values"]).strip()] += entry["counts"]
    for row in rows.filter(pc.is_null(values)).to_pylist():
        columns = raw_columns(row["raw"]) or {}
        counted[column, columns.get(column, "").strip()] += 1
    return counted


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:  # the row is a record that only looks like JSON
        return text


def _faults(reason: str, row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    columns = raw_columns(row["raw"]) or {}
    if reason == NOT_A_NUMBER:
        names = (name for name in DEEP_FEATURES if _wrong_number(columns.get(name, "")))
        yield from ((name, columns[name]) for name in names)
        return
    for name in RAW_TEXT_COLUMNS:
        if len(columns.get(name, "").encode()) > get_settings().max_field_bytes:
            yield name, columns[name]


def _wrong_number(text: str) -> bool:
    return not is_number(text) or (bool(text.strip()) and isinf(float(text)))


def repair_entries(values: dict[str, Values]) -> str:
    """Return a draft of a repair file (`REPAIR_DOCS`) for the values, with capitals where a person has to decide.

    It is empty where no value can be repaired by its name.
    """
    entries: list[str] = []
    if names := _nameable_values(values, UNKNOWN_SCENE):
        entries.append(f"scenes: {_flow(dict.fromkeys(names, 'SCENE'))}  # one of {list_text(get_settings().scenes)}")
    if names := _nameable_values(values, BAD_LABEL):
        entries.append(f"labels: {_flow(dict.fromkeys(names, 'LABEL'))}  # 0 or 1")
    if names := _nameable_values(values, UNPARSABLE_TIME):
        entries.append(f'time: {{formats: [FORMAT], zone: ZONE}}  # such as "%d.%m.%Y %H:%M" and UTC, for {names[0]}')
    if NOT_A_NUMBER in values:
        pairs: dict[str, dict[str, str]] = {}
        for value in values[NOT_A_NUMBER].most:
            if _is_whole(value):
                pairs.setdefault(value.column, {})[value.value] = "NUMBER"
        entries += [f"values: {_flow(pairs)}  # empty for none"] if pairs else []
    return "\n".join(entries)


def _nameable_values(values: dict[str, Values], reason: str) -> list[str]:
    """Return the values of a reason that an entry may name: as they came in, and not blank."""
    most = values[reason].most if reason in values else []
    return [value.value for value in most if value.value and _is_whole(value)]


def _is_whole(value: Value) -> bool:
    """Return whether the value is neither masked nor shortened."""
    return value.column not in get_settings().sensitive_columns and len(value.value) <= LONGEST_TEXT


def _flow(pairs: dict[str, Any]) -> str:
    return str(yaml.safe_dump(pairs, default_flow_style=True, allow_unicode=True, width=10**6)).strip()
