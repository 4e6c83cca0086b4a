"""The stages of a night, each declared once: its tables, their inputs, the job that builds them, and what is checked.

A *stage* is what is audited and published together: one manifest a day, one check task in the DAG.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from include.calendar import WINDOW_DAYS
from include.features import FEATURES
from include.schemas import DEEP_FEATURES

Stage = Literal["logs", "features", "training"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Checked = Literal[Stage, "model"]
CHECKED: tuple[Checked, ...] = get_args(Checked)
"""What has quality records, in the order of a night."""


@dataclass(frozen=True)
class Table:
    """A published table.

    `ddl` is Spark's, without the folders `dt` and `build` (`logs` has `scene` as a folder too); `key` are columns that
    identify a row and are checked to be unique; `by_scene` adds a column for each count and scene (`scene_columns`).
    """

    ddl: str
    key: tuple[str, ...] = ()
    by_scene: bool = False


@dataclass(frozen=True)
class StageSpec:
    """A stage: everything that differs between stages and is not code stands here.

    `main` is the table whose rows are reported as the stage's; `job` the module of `spark_jobs` that builds it, `task` the DAG's
    task that runs the job. `inputs` are the stages that a build of a day reads, each with how many days back, and `raw`
    says that it reads the day's raw files and the late events. The settings that shape its rows are marked in
    `include/settings.py` (`Shapes`).
    """

    tables: Mapping[str, Table]
    main: str
    job: str
    task: str
    inputs: Mapping[Stage, tuple[int, ...]] = field(default_factory=dict)
    raw: bool = False


_LOG_COLUMNS = (
    "event_id string, user_id string, item_id string, log_ts timestamp, label tinyint, scene string, "
    "bill_entities array<string>, service_entities array<string>, query_entities array<string>, "
    "item_entities array<string>, item_title string, " + ", ".join(f"{name} double" for name in DEEP_FEATURES)
)
_COUNTS = "impressions bigint, clicks bigint"
_WEEK = "impressions_7d bigint, clicks_7d bigint"
_TOTALS = "impressions_total bigint, clicks_total bigint, first_seen date, last_seen date, last_clicked date"
_TRAINING_COLUMNS = (
    "event_id string, label tinyint, scene string, user_id string, item_id string, log_ts timestamp, "
    "user_level string, item_level string, "
    + ", ".join(f"{feature.name} {feature.type}" for feature in FEATURES)
    + ", "
    + ", ".join(f"{name} double" for name in DEEP_FEATURES)
    + ", title_key bigint, item_entity_keys array<bigint>, query_entity_keys array<bigint>, "
    "service_entity_keys array<bigint>, bill_entity_keys array<bigint>"
)

SPECS: dict[Stage, StageSpec] = {
    "logs": StageSpec(
        tables={
            "logs": Table(_LOG_COLUMNS, key=("event_id",)),
            # Events of `day`, an earlier one, which came with this day's raw files; that day's `logs` take them in.
            "late": Table(f"{_LOG_COLUMNS}, day date"),
            "quarantine": Table(
                "source_file string, source_row bigint, raw string, reasons array<string>, fingerprint bigint"
            ),
        },
        main="logs",
        job="ingest",
        task="ingest_logs",
        raw=True,
    ),
    "features": StageSpec(
        tables={
            # counts of the day
            "agg_user": Table(f"user_id string, scene string, {_COUNTS}"),
            "agg_item": Table(f"item_id string, scene string, {_COUNTS}"),
            "agg_user_item": Table(f"user_id string, item_id string, scene string, {_COUNTS}"),
            "agg_user_topic": Table(f"user_id string, topic_key bigint, {_COUNTS}"),
            # counts of seven days, of keys that were shown in them
            "features_user": Table(f"user_id string, {_WEEK}", key=("user_id",), by_scene=True),
            "features_item": Table(f"item_id string, {_WEEK}", key=("item_id",), by_scene=True),
            # counts so far, of keys that were shown within the retention of the settings
            "totals_user": Table(f"user_id string, {_TOTALS}", key=("user_id",)),
            "totals_item": Table(f"item_id string, {_TOTALS}", key=("item_id",)),
            # a row for each scene of the settings; prior_ctr: CTR of all scenes; strengths: weights of ctr_7d as a prior
            "features_scene": Table(
                f"scene string, {_WEEK}, ctr_7d double, prior_ctr double, user_strength double, item_strength double"
            ),
            "items": Table(
                "item_id string, item_title string, item_entities array<string>, first_seen date, last_seen date",
                key=("item_id",),
            ),
            # distinct texts of the day; kind: title or entity
            "texts": Table("text_key bigint, text string, kind string"),
        },
        main="totals_user",
        job="features",
        task="build_features",
        # Yesterday's counts with today's, without those of the day that leaves the window.
        inputs={"logs": (0,), "features": (WINDOW_DAYS, 1)},
    ),
    "training": StageSpec(
        tables={"training": Table(_TRAINING_COLUMNS, key=("event_id",))},
        main="training",
        job="training_table",
        task="build_training_table",
        inputs={"logs": (0,), "features": tuple(range(WINDOW_DAYS, 0, -1))},
    ),
}

SNAPSHOTS = ("features_user", "features_item", "totals_user", "totals_item", "features_scene")
"""The tables of a day that the training rows of the next are joined to."""

TABLES: dict[str, Table] = {name: table for spec in SPECS.values() for name, table in spec.tables.items()}
"""Every published table by its name."""


def stage_of(table: str) -> Stage:
    """Return the stage that publishes a table; raises `KeyError` for an unknown table."""
    for stage, spec in SPECS.items():
        if table in spec.tables:
            return stage
    raise KeyError(table)


def scene_columns(scenes: Sequence[str]) -> list[str]:
    """Return the columns of a table `by_scene`, in the order of `scenes` (position, not name)."""
    return [f"{count}_7d_scene_{n}" for n in range(len(scenes)) for count in ("impressions", "clicks")]


def column_names() -> frozenset[str]:
    """Return the names of the columns of every table, but for those that are there once for each scene."""
    return frozenset(column.split()[0] for table in TABLES.values() for column in table.ddl.split(", "))
