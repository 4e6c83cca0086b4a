"""Masking of samples of rows: values of sensitive columns (settings) become a short hash, the same for equal values."""

import csv
import hashlib
import io
import json
from typing import Any

from include.schemas import RAW_COLUMNS
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
    """Return a quarantined raw row, JSON of its columns or a record with a wrong number of fields, as a sample may show it."""
    try:
        columns = json.loads(raw)
    except ValueError:
        columns = None
    if not isinstance(columns, dict):
        csv.field_size_limit(1 << 30)
        fields = next(iter(csv.reader(io.StringIO(raw, newline=""))), [])
        columns = {name: field for name, field in zip(RAW_COLUMNS, fields, strict=False) if field}
    return json.dumps({name: masked(name, value) for name, value in columns.items()}, ensure_ascii=False)
