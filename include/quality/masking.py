"""Masking of samples of rows: values of sensitive columns (settings) become a short hash, the same for equal values."""

import csv
import hashlib
import io
import json
from typing import Any

from include.mapping.mapping import Mapping
from include.raw.raw_mapping import raw_mapping
from include.settings import get_settings

LONGEST_TEXT = 120


def masked(name: str, value: Any) -> Any:
    """Return a value as a sample may show it: hashed if its column is sensitive, shortened if it is long."""
    if value is not None and name in get_settings().sensitive_columns:
        return f"masked {hashlib.sha256(str(value).encode()).hexdigest()[:8]}"
    return value if isinstance(value, bool | int | float) or value is None else shortened(str(value))


def shortened(text: str) -> str:
    """Return a text cut to `LONGEST_TEXT` characters, saying how long it was."""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"


def masked_raw(raw: str) -> str:
    """Return a quarantined raw row, JSON of its columns or a record without columns, as a sample may show it.

    Of such a record only fields that are not sensitive by their place are shown; where the mapping does not say the places,
    none is.
    """
    try:
        columns = json.loads(raw)
    except ValueError:
        columns = None
    if not isinstance(columns, dict):
        columns = _by_place(raw)
    return json.dumps({name: masked(name, value) for name, value in columns.items()}, ensure_ascii=False)


def _by_place(record: str) -> dict[str, str]:
    mapping = raw_mapping()
    sources = {source: name for name, source in mapping.columns.items() if isinstance(source, str)}
    if mapping.format != "csv" or not mapping.names:
        return {"record": f"{len(record):,} characters, not shown: which of them are sensitive is not known"}
    fields = record.split(mapping.delimiter) if mapping.quote not in record else _quoted_fields(record, mapping)
    return {sources.get(name, name): field for name, field in zip(mapping.names, fields, strict=False) if field}


def _quoted_fields(record: str, mapping: Mapping) -> list[str]:
    csv.field_size_limit(1 << 30)
    return next(
        iter(csv.reader(io.StringIO(record, newline=""), delimiter=mapping.delimiter, quotechar=mapping.quote)), []
    )
