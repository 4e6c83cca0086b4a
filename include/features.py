"""Every feature is declared here once: tables, model input and documentation come from this list.

A feature of a training row of day *d* is as of the end of *d*-1 (`calendar.WINDOW_DAYS` calendar days for `7d`).
"""

from dataclasses import dataclass
from typing import Literal

from include.schemas import DEEP_FEATURES, TABLES
from include.settings import settings

Transform = Literal["log1p", "identity", "logit"]


@dataclass(frozen=True)
class Feature:
    """One numeric model input.

    `name` is its column in `training`, `grain` the snapshot it is joined from (`row`: of the impression itself),
    `default` its value for a key that the snapshot does not hold (`None`: the scene's prior CTR),
    `transform` what the model applies before standardising.
    """

    name: str
    grain: Literal["user", "item", "user_item", "scene", "row"]
    type: Literal["bigint", "double", "int"]
    unit: str
    default: float | None
    transform: Transform
    meaning: str


def _counts(grain: Literal["user", "item"], who: str) -> list[Feature]:
    return [
        Feature(f"{grain}_impressions_7d", grain, "bigint", "rows", 0, "log1p", f"impressions of the {who}, 7 days"),
        Feature(f"{grain}_clicks_7d", grain, "bigint", "rows", 0, "log1p", f"clicks of the {who}, 7 days"),
        Feature(f"{grain}_ctr_7d", grain, "double", "rate", None, "logit", f"smoothed CTR of the {who}, 7 days"),
        Feature(f"{grain}_impressions_total", grain, "bigint", "rows", 0, "log1p", f"impressions of the {who} so far"),
        Feature(f"{grain}_clicks_total", grain, "bigint", "rows", 0, "log1p", f"clicks of the {who} so far"),
        Feature(f"{grain}_ctr_total", grain, "double", "rate", None, "logit", f"smoothed CTR of the {who} so far"),
        Feature(
            f"{grain}_scene_impressions_7d",
            grain,
            "bigint",
            "rows",
            0,
            "log1p",
            f"impressions of the {who} in the row's scene, 7 days",
        ),
        Feature(
            f"{grain}_scene_clicks_7d",
            grain,
            "bigint",
            "rows",
            0,
            "log1p",
            f"clicks of the {who} in the row's scene, 7 days",
        ),
        Feature(
            f"{grain}_scene_ctr_7d",
            grain,
            "double",
            "rate",
            None,
            "logit",
            f"smoothed CTR of the {who} in the row's scene, 7 days",
        ),
        Feature(
            f"{grain}_days_since_seen",
            grain,
            "int",
            "days",
            365,
            "log1p",
            f"days since the {who} was last shown; 365 if never",
        ),
        Feature(
            f"{grain}_age_days", grain, "int", "days", 0, "log1p", f"days since the {who} was first shown; 0 if never"
        ),
    ]


FEATURES: tuple[Feature, ...] = (
    *_counts("user", "user"),
    *_counts("item", "item"),
    Feature(
        "user_item_impressions_7d", "user_item", "bigint", "rows", 0, "log1p", "times this user saw this item, 7 days"
    ),
    Feature(
        "user_item_clicks_7d", "user_item", "bigint", "rows", 0, "log1p", "clicks of this user on this item, 7 days"
    ),
    Feature(
        "user_item_impressions_total", "user_item", "bigint", "rows", 0, "log1p", "times this user saw this item so far"
    ),
    Feature(
        "user_item_clicks_total", "user_item", "bigint", "rows", 0, "log1p", "clicks of this user on this item so far"
    ),
    Feature("scene_ctr_7d", "scene", "double", "rate", None, "logit", "smoothed CTR of the scene, 7 days"),
    Feature("hour_of_day", "row", "int", "hours", 0, "identity", "UTC hour of the impression"),
    Feature("day_of_week", "row", "int", "days", 0, "identity", "1 = Monday, of the impression"),
)
"""Declared features. `deep_features_0..26` are model inputs as well, as logged (null reads as the training mean)."""


NEUTRAL_CTR = 0.1
"""CTR that priors lean on where there is no log at all: `prior = (clicks + k * NEUTRAL_CTR) / (impressions + k)`, with the
`ctr_smoothing` k of the settings. It is what training rows of a lake's first day carry, the same in every row."""

PIVOTED = ("features_user", "features_item")
"""Snapshots with a per-scene pivot."""


def scene_columns(scenes: tuple[str, ...]) -> list[str]:
    """Columns of the per-scene pivot of a user or item snapshot, in the order of `scenes` (position, not name)."""
    return [f"{what}_7d_scene_{n}" for n in range(len(scenes)) for what in ("impressions", "clicks")]


def smoothed_ctr(clicks: str, impressions: str, prior: str) -> str:
    """SQL of the smoothed CTR: `(clicks + k * prior) / (impressions + k)`, inside (0, 1) for a prior inside (0, 1)."""
    k = settings().ctr_smoothing
    return f"(({clicks}) + {k!r}D * ({prior})) / (({impressions}) + {k!r}D)"


def level_of(impressions: str, few: int) -> str:
    """SQL of a key's level from its impressions so far (see `schemas.Level`)."""
    return f"CASE WHEN {impressions} <= 0 THEN 'zero' WHEN {impressions} <= {few} THEN 'few' ELSE 'warm' END"


def table_ddl(table: str) -> str:
    """Spark DDL of a table with the settings' scenes filled in, without the `dt` and `build` folders."""
    ddl = next(tables[table] for tables in TABLES.values() if table in tables)
    if table in PIVOTED:
        ddl += "".join(f", {name} bigint" for name in scene_columns(settings().scenes))
    return ddl


_AGG = "impressions bigint, clicks bigint"
_SNAPSHOT = (
    "impressions_7d bigint, clicks_7d bigint, ctr_7d double, impressions_total bigint, clicks_total bigint, "
    "ctr_total double, first_seen date, last_seen date"
)
TABLES["features"] = {
    "agg_user": f"user_id string, scene string, {_AGG}",
    "agg_item": f"item_id string, scene string, {_AGG}",
    "agg_user_item": f"user_id string, item_id string, scene string, {_AGG}",
    "features_user": f"user_id string, {_SNAPSHOT}, level string",  # and the pivot: table_ddl
    "features_item": f"item_id string, {_SNAPSHOT}, level string",  # and the pivot: table_ddl
    "features_user_item": (
        "user_id string, item_id string, impressions_7d bigint, clicks_7d bigint, impressions_total bigint, "
        "clicks_total bigint, last_seen date"
    ),
    # one row for each scene of the settings; prior_ctr: of all scenes together, the prior of ctr_7d and of every other CTR
    "features_scene": "scene string, impressions_7d bigint, clicks_7d bigint, ctr_7d double, prior_ctr double",
    "items": "item_id string, item_title string, item_entities array<string>, first_seen date, last_seen date",
    "texts": "text_key bigint, text string, kind string",  # distinct texts of the day; kind: title or entity
}
TABLES["training"] = {
    "training": (
        "event_id string, label tinyint, scene string, user_id string, item_id string, log_ts timestamp, "
        "user_level string, item_level string, "
        + ", ".join(f"{feature.name} {feature.type}" for feature in FEATURES)
        + ", "
        + ", ".join(f"{name} double" for name in DEEP_FEATURES)
        + ", title_key bigint, item_entity_keys array<bigint>, query_entity_keys array<bigint>, "
        "service_entity_keys array<bigint>, bill_entity_keys array<bigint>"
    )
}
