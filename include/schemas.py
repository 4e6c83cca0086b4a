"""Columns of the raw logs and levels of users and items: the contract between the packages."""

import hashlib
from typing import Literal, get_args

RAW_TEXT_COLUMNS = (
    "user_id",
    "item_id",
    "log_time",
    "label",
    "bill_entity_seq",
    "service_entity_seq",
    "query_entity_seq",
    "item_entity_names",
    "item_title",
    "scene",
)
DEEP_FEATURES = tuple(f"deep_features_{n}" for n in range(27))
RAW_COLUMNS = RAW_TEXT_COLUMNS + DEEP_FEATURES
"""AntM2C's columns, in their order in a raw CSV file."""

ENTITY_COLUMNS = {
    "bill_entity_seq": "bill_entities",
    "service_entity_seq": "service_entities",
    "query_entity_seq": "query_entities",
    "item_entity_names": "item_entities",
}
"""Raw columns that hold a sequence of entities, and the columns of `logs` that they become."""
OPTIONAL_RAW_COLUMNS = (*ENTITY_COLUMNS, "item_title", *DEEP_FEATURES)
"""Columns that a log may lack: they read as null. Any other missing column is an error."""

Level = Literal["zero", "few", "warm"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""How much the log knows of a user or an item when the day begins, from its impressions so far (settings)."""


def schema_hash(ddl: str) -> str:
    """Return a short hash of a DDL schema, kept in manifests so that a reader notices a change."""
    return hashlib.sha256(ddl.encode()).hexdigest()[:12]
