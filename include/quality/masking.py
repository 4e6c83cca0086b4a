"""What a sample of rows may show: sensitive columns (settings) as a short hash that tells equal values apart from others."""

import csv
import hashlib
import io
import json
from typing import Any

from include.schemas import RAW_COLUMNS
from include.settings import get_settings

LONGEST_TEXT = 120


def shown(name: str, value: Any) -> Any:
    """A value as a sample may show it: masked if its column is sensitive, folded if it is long."""
    if value is not None and name in get_settings().sensitive_columns:
        return f"masked {hashlib.sha256(str(value).encode()).hexdigest()[:8]}"
    return value if isinstance(value, bool | int | float) or value is None else folded(str(value))


def folded(text: str) -> str:
    """A text cut to `LONGEST_TEXT` characters, saying how long it was."""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text):,} characters)"


def masked_raw(raw: str) -> str:
    """A quarantined raw row as a sample may show it: JSON of its columns, or a record that has too few or too many fields."""
    try:
        columns = json.loads(raw)
    except ValueError:
        columns = None
    if not isinstance(columns, dict):
        csv.field_size_limit(1 << 30)
        fields = next(iter(csv.reader(io.StringIO(raw, newline=""))), [])
        columns = {name: field for name, field in zip(RAW_COLUMNS, fields, strict=False) if field}
    return json.dumps({name: shown(name, value) for name, value in columns.items()}, ensure_ascii=False)
