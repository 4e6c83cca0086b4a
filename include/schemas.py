"""Names of scenes, stages, tables and columns: the contract between the rooms.

A *stage* is what is audited and published together: one manifest a day, one check task in the DAG.
"""

import hashlib
from typing import Literal, get_args

Stage = Literal["logs", "features", "training"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Checked = Literal[Stage, "model"]
CHECKED: tuple[Checked, ...] = get_args(Checked)
"""What has quality records, in the order of a night."""

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

OPTIONAL_RAW_COLUMNS = (
    "bill_entity_seq",
    "service_entity_seq",
    "query_entity_seq",
    "item_entity_names",
    *DEEP_FEATURES,
)
"""Columns that a raw file may lack: they read as null. Any other missing column is an error."""

_LOGS = (
    "event_id string, user_id string, item_id string, log_ts timestamp, label tinyint, scene string, "
    "bill_entities array<string>, service_entities array<string>, query_entities array<string>, "
    "item_entities array<string>, item_title string, " + ", ".join(f"{name} double" for name in DEEP_FEATURES)
)
TABLES: dict[Stage, dict[str, str]] = {
    "logs": {
        "logs": _LOGS,
        "late": f"{_LOGS}, day date",
        "quarantine": "source_file string, source_row bigint, raw string, reasons array<string>, fingerprint bigint",
    },
    "features": {},
    "training": {},
}
"""Spark DDL of every table by stage, without the `dt` and `build` folders; `logs` has `scene` as a folder too.
`late` is published with the day of its raw files and holds events of `day`, an earlier one, whose `logs` take them in.
The feature and training tables are completed by include.features."""

SHAPED_BY: dict[Stage, tuple[str, ...]] = {
    "logs": ("entity_separators", "max_field_bytes"),
    "features": ("scenes", "ctr_smoothing", "retention_days"),
    "training": ("scenes", "user_few_impressions", "item_few_impressions"),
}
"""The settings by which the rows of a stage's tables are made: where one has changed, the day is stale. Rules of what is
accepted (scenes, late events) are not among those of `logs`: a change of them holds for what arrives from then on."""

Level = Literal["zero", "few", "warm"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""How much the log knows of a user or an item when the day begins, from its impressions so far (settings)."""


def stage_of(table: str) -> Stage:
    """The stage that publishes a table; raises `KeyError` for an unknown table."""
    for stage, tables in TABLES.items():
        if table in tables:
            return stage
    raise KeyError(table)


def schema_hash(ddl: str) -> str:
    """Short hash of a DDL schema, kept in manifests so that a reader notices a change."""
    return hashlib.sha256(ddl.encode()).hexdigest()[:12]
