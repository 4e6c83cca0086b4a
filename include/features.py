"""Every feature is declared here once: tables, checks, model input and documentation come from this list.

A feature of a training row of day *d* is as of the end of *d*-1 (`calendar.WINDOW_DAYS` calendar days for `7d`).
"""

from dataclasses import dataclass
from typing import Literal

from include.calendar import WINDOW_DAYS
from include.schemas import DEEP_FEATURES, TABLES
from include.settings import settings

Grain = Literal["user", "item", "user_item", "user_topic", "scene", "row"]
Window = Literal["7d", "total", "row"]
Transform = Literal["log1p", "identity", "logit"]

NEVER = 365
"""Days since something that never happened, or longer ago than that."""


@dataclass(frozen=True)
class Feature:
    """One numeric model input.

    `name` is its column in `training`; `grain` is the key that it is looked up by (`row`: of the impression itself);
    `window` is what it looks back on (`7d`: seven calendar days, `total`: all days so far, `row`: the impression);
    `default` is its value for a key that is not there (`None`: the scene's CTR);
    `transform` is what the model applies before standardising.
    """

    name: str
    grain: Grain
    type: Literal["bigint", "double", "int"]
    unit: str
    window: Window
    default: float | None
    transform: Transform
    meaning: str


def _rows(name: str, grain: Grain, window: Window, meaning: str) -> Feature:
    return Feature(name, grain, "bigint", "rows", window, 0, "log1p", meaning)


def _rate(name: str, grain: Grain, window: Window, meaning: str) -> Feature:
    return Feature(name, grain, "double", "rate", window, None, "logit", meaning)


def _days(name: str, grain: Grain, window: Window, default: float, meaning: str) -> Feature:
    return Feature(name, grain, "int", "days", window, default, "log1p", meaning)


def _of(who: Literal["user", "item"]) -> tuple[Feature, ...]:
    return (
        _rows(f"{who}_impressions_7d", who, "7d", f"impressions of the {who}"),
        _rows(f"{who}_clicks_7d", who, "7d", f"clicks of the {who}"),
        _rate(f"{who}_ctr_7d", who, "7d", f"CTR of the {who}, smoothed"),
        _rows(f"{who}_impressions_total", who, "total", f"impressions of the {who}"),
        _rows(f"{who}_clicks_total", who, "total", f"clicks of the {who}"),
        _rate(f"{who}_ctr_total", who, "total", f"CTR of the {who}, smoothed"),
        _rows(f"{who}_scene_impressions_7d", who, "7d", f"impressions of the {who} in the row's scene"),
        _rows(f"{who}_scene_clicks_7d", who, "7d", f"clicks of the {who} in the row's scene"),
        _rate(f"{who}_scene_ctr_7d", who, "7d", f"CTR of the {who} in the row's scene, smoothed"),
        Feature(
            f"{who}_ctr_trend",
            who,
            "double",
            "log-odds",
            "total",
            0,
            "identity",
            f"log-odds of {who}_ctr_7d minus those of {who}_ctr_total",
        ),
        Feature(
            f"{who}_recent_share",
            who,
            "double",
            "share",
            "total",
            0,
            "identity",
            f"share of the {who}'s impressions so far that fell in the last 7 days",
        ),
        _days(
            f"{who}_days_since_seen",
            who,
            "total",
            NEVER,
            f"days since the {who} was last shown; {NEVER} if never",
        ),
        _days(
            f"{who}_days_since_click",
            who,
            "total",
            NEVER,
            f"days since the {who}'s last click; {NEVER} if never",
        ),
        _days(f"{who}_age_days", who, "total", 0, f"days since the {who} was first shown; 0 if never"),
    )


FEATURES: tuple[Feature, ...] = (
    *_of("user"),
    *_of("item"),
    _rows("user_item_impressions_7d", "user_item", "7d", "times this user saw this item"),
    _rows("user_item_clicks_7d", "user_item", "7d", "clicks of this user on this item"),
    _days(
        "user_item_days_since_seen",
        "user_item",
        "7d",
        NEVER,
        f"days since this user saw this item; {NEVER} if not in 7 days",
    ),
    _rows("user_topic_impressions_7d", "user_topic", "7d", "times this user saw items of the row's topic"),
    _rows("user_topic_clicks_7d", "user_topic", "7d", "clicks of this user on items of the row's topic"),
    _rate("user_topic_ctr_7d", "user_topic", "7d", "CTR of this user on items of the row's topic, smoothed"),
    _rate("scene_ctr_7d", "scene", "7d", "CTR of the scene, smoothed"),
    Feature("hour_of_day", "row", "int", "hours", "row", 0, "identity", "UTC hour of the impression"),
    Feature("day_of_week", "row", "int", "days", "row", 0, "identity", "1 = Monday, of the impression"),
    Feature(
        "scene_position", "row", "int", "place", "row", 0, "identity", "place of the scene in the settings, from 0"
    ),
)
"""Declared features. `deep_features_0..26` are model inputs as well, as logged (null reads as the training mean)."""

# Priors


NEUTRAL_CTR = 0.1
"""CTR that priors lean on where there is no log at all: `prior = (clicks + k * NEUTRAL_CTR) / (impressions + k)`, with the
`ctr_smoothing` k of the settings. It is what training rows of a lake's first day carry, the same in every row."""

STRENGTH_RANGE = (1.0, 1000.0)
"""Bounds of an estimated prior strength, in impressions."""
ENOUGH_KEYS = 100
"""Keys, clicks and repeated impressions of a scene below which a prior's strength is not estimated."""


def prior_strength(keys: int, impressions: int, clicks: int, squares: float, shares: float) -> float:
    """How many impressions the scene's CTR weighs against those of one user or item: empirical Bayes, from their 7-day counts.

    Sums over the keys (with n impressions and x clicks each) of a scene: `impressions` Σn, `clicks` Σx, `squares` Σn²,
    `shares` Σx²/n. The beta-binomial strength is 1/ρ - 1 of the intraclass correlation ρ, estimated by analysis of variance
    (Ridout, Demétrio and Firth, Biometrics 1999): the more keys differ, the less the prior weighs. With too few to tell, it
    is the setting `ctr_smoothing`.
    """
    repeated = impressions - keys
    if min(keys, clicks, impressions - clicks, repeated) < ENOUGH_KEYS:
        return settings().ctr_smoothing
    between = (shares - clicks**2 / impressions) / (keys - 1)
    within = (clicks - shares) / repeated
    per_key = (impressions - squares / impressions) / (keys - 1)
    low, high = STRENGTH_RANGE
    correlation = (between - within) / (between + (per_key - 1) * within)
    # Two decimals, so that the order in which a cluster adds up floats does not show.
    return round(min(max(1 / correlation - 1, low), high), 2) if correlation > 1 / (high + 1) else high


def smoothed_ctr(clicks: str, impressions: str, prior: str, strength: str) -> str:
    """SQL of the smoothed CTR: `(clicks + k * prior) / (impressions + k)`, inside (0, 1) for a prior inside (0, 1)."""
    return f"(({clicks}) + ({strength}) * ({prior})) / (({impressions}) + ({strength}))"


def level_of(impressions: str, few: int) -> str:
    """SQL of a key's level from its impressions so far (see `schemas.Level`)."""
    return f"CASE WHEN {impressions} <= 0 THEN 'zero' WHEN {impressions} <= {few} THEN 'few' ELSE 'warm' END"


# Tables

PIVOTED = ("features_user", "features_item")
"""Tables with a per-scene pivot."""


def scene_columns(scenes: tuple[str, ...]) -> list[str]:
    """Columns of the per-scene pivot, in the order of `scenes` (position, not name)."""
    return [f"{what}_7d_scene_{n}" for n in range(len(scenes)) for what in ("impressions", "clicks")]


def table_ddl(table: str) -> str:
    """Spark DDL of a table with the settings' scenes filled in, without the `dt` and `build` folders."""
    ddl = next(tables[table] for tables in TABLES.values() if table in tables)
    if table in PIVOTED:
        ddl += "".join(f", {name} bigint" for name in scene_columns(settings().scenes))
    return ddl


_AGG = "impressions bigint, clicks bigint"
_WEEK = "impressions_7d bigint, clicks_7d bigint"
_TOTALS = "impressions_total bigint, clicks_total bigint, first_seen date, last_seen date, last_clicked date"
TABLES["features"] = {
    # counts of the day
    "agg_user": f"user_id string, scene string, {_AGG}",
    "agg_item": f"item_id string, scene string, {_AGG}",
    "agg_user_item": f"user_id string, item_id string, scene string, {_AGG}",
    "agg_user_topic": f"user_id string, topic_key bigint, {_AGG}",
    # counts of seven days, of keys that were shown in them, by scene (`table_ddl` adds the pivot)
    "features_user": f"user_id string, {_WEEK}",
    "features_item": f"item_id string, {_WEEK}",
    # counts so far, of keys that were shown within the retention of the settings
    "totals_user": f"user_id string, {_TOTALS}",
    "totals_item": f"item_id string, {_TOTALS}",
    # a row for each scene of the settings; prior_ctr: CTR of all scenes; strengths: weights of ctr_7d as a prior
    "features_scene": (
        f"scene string, {_WEEK}, ctr_7d double, prior_ctr double, user_strength double, item_strength double"
    ),
    "items": "item_id string, item_title string, item_entities array<string>, first_seen date, last_seen date",
    "texts": "text_key bigint, text string, kind string",  # distinct texts of the day; kind: title or entity
}
SNAPSHOTS = ("features_user", "features_item", "totals_user", "totals_item", "features_scene")
"""The tables of a day that the training rows of the next are joined to."""

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

# Documentation

_WINDOWS = {"7d": f"{WINDOW_DAYS} days", "total": "so far", "row": "the impression"}


def features_markdown() -> str:
    """`docs/features.md`: the declared features as a table."""
    lines = [
        "# Features",
        "",
        "Made by `ctr features --markdown` from `include/features.py`. A row of day *d* sees what was known at the end of *d*−1.",
        "A topic is the first entity of an item. CTRs are smoothed towards the scene's (architecture.md, Priors).",
        "",
        "| feature | key | type | unit | looks back on | unseen key | model sees | meaning |",
        "|---" * 8 + "|",
    ]
    for each in FEATURES:
        default = "the scene's CTR" if each.default is None else "" if each.grain == "row" else f"{each.default:g}"
        key = each.grain.replace("_", " × ")
        lines.append(
            f"| `{each.name}` | {key} | {each.type} | {each.unit} | {_WINDOWS[each.window]} | {default} "
            f"| {each.transform} | {each.meaning} |"
        )
    lines.append(
        f"| `{DEEP_FEATURES[0]}` … `{DEEP_FEATURES[-1]}` | row | double |  | the impression |  | identity | as logged |"
    )
    return "\n".join(lines) + "\n"
