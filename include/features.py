"""Every feature is declared here once: tables, checks, model input and documentation come from this list.

A feature of a training row of day *d* is as of the end of *d*-1 (`calendar.WINDOW_DAYS` calendar days for `7d`).
"""

from dataclasses import dataclass
from typing import Literal

from include.calendar import WINDOW_DAYS
from include.schemas import DEEP_FEATURES

Grain = Literal["user", "item", "user_item", "user_topic", "scene", "row"]
Window = Literal["7d", "total", "row"]
Transform = Literal["log1p", "identity", "logit"]

NEVER = 365
"""Days since something that never happened, or longer ago than that."""
NEUTRAL_CTR = 0.1
"""CTR that priors lean on where there is no log at all: `prior = (clicks + k * NEUTRAL_CTR) / (impressions + k)`, with the
`ctr_smoothing` k of the settings. It is what training rows of a lake's first day carry, the same in every row."""
STRENGTH_RANGE = (1.0, 1000.0)
"""Bounds of an estimated prior strength, in impressions."""
ENOUGH_KEYS = 100
"""Keys, clicks and repeated impressions of a scene below which a prior's strength is not estimated."""
_WINDOWS = {"7d": f"{WINDOW_DAYS} days", "total": "so far", "row": "the impression"}


@dataclass(frozen=True)
class Rate:
    """The columns of a training row that a smoothed CTR is made of; `strength` weighs the scene's CTR."""

    clicks: str
    impressions: str
    strength: str


@dataclass(frozen=True)
class Feature:
    """One numeric model input.

    `name` is its column in `training`; `grain` is the key that it is looked up by (`row`: of the impression itself);
    `window` is what it looks back on (`7d`: seven calendar days, `total`: all days so far, `row`: the impression);
    `default` is its value for a key that is not there (`None`: the scene's CTR);
    `transform` is what the model applies before standardising.

    `sql` makes it, in Spark's dialect. With `step` 0, of the log (`l`) and the tables joined to it (`features_user`, …,
    `user_item`, `user_topic`), where `{day}` is the row's day and `{scene}` the place of the row's scene in the settings, and
    `default` fills in where the key is not there. With step 1, of columns of the row made before, with step 2 also of those
    of step 1. `rate` says what a smoothed CTR is made of, for its checks.
    """

    name: str
    grain: Grain
    type: Literal["bigint", "double", "int"]
    unit: str
    window: Window
    default: float | None
    transform: Transform
    meaning: str
    sql: str
    step: Literal[0, 1, 2] = 0
    rate: Rate | None = None


def smoothed_ctr(clicks: str, impressions: str, prior: str, strength: str) -> str:
    """Return the SQL of a smoothed CTR: `(clicks + k * prior) / (impressions + k)`, inside (0, 1) for a prior inside (0, 1)."""
    return f"(({clicks}) + ({strength}) * ({prior})) / (({impressions}) + ({strength}))"


def level_of(impressions: str, few: int) -> str:
    """Return the SQL of a key's level from its impressions so far (see `schemas.Level`)."""
    return f"CASE WHEN {impressions} <= 0 THEN 'zero' WHEN {impressions} <= {few} THEN 'few' ELSE 'warm' END"


def _count(name: str, grain: Grain, window: Window, sql: str, meaning: str) -> Feature:
    return Feature(name, grain, "bigint", "rows", window, 0, "log1p", meaning, sql)


def _ctr(name: str, grain: Literal["user", "item", "user_topic"], window: Window, meaning: str) -> Feature:
    strength = "item_strength" if grain == "item" else "user_strength"
    rate = Rate(name.replace("_ctr", "_clicks"), name.replace("_ctr", "_impressions"), strength)
    sql = smoothed_ctr(rate.clicks, rate.impressions, "scene_ctr_7d", strength)
    return Feature(name, grain, "double", "rate", window, None, "logit", meaning, sql, step=1, rate=rate)


def _days_since(name: str, grain: Grain, window: Window, date_column: str, meaning: str) -> Feature:
    sql = f"least(datediff(DATE'{{day}}', {date_column}), {NEVER})"
    return Feature(name, grain, "int", "days", window, NEVER, "log1p", meaning, sql)


def _of_entity(entity: Literal["user", "item"]) -> tuple[Feature, ...]:
    week, total = f"features_{entity}", f"totals_{entity}"
    ctr_7d, ctr_total = f"{entity}_ctr_7d", f"{entity}_ctr_total"
    return (
        _count(f"{entity}_impressions_7d", entity, "7d", f"{week}.impressions_7d", f"impressions of the {entity}"),
        _count(f"{entity}_clicks_7d", entity, "7d", f"{week}.clicks_7d", f"clicks of the {entity}"),
        _ctr(ctr_7d, entity, "7d", f"CTR of the {entity}, smoothed"),
        _count(
            f"{entity}_impressions_total", entity, "total", f"{total}.impressions_total", f"impressions of the {entity}"
        ),
        _count(f"{entity}_clicks_total", entity, "total", f"{total}.clicks_total", f"clicks of the {entity}"),
        _ctr(ctr_total, entity, "total", f"CTR of the {entity}, smoothed"),
        _count(
            f"{entity}_scene_impressions_7d",
            entity,
            "7d",
            f"{week}.impressions_7d_scene_{{scene}}",
            f"impressions of the {entity} in the row's scene",
        ),
        _count(
            f"{entity}_scene_clicks_7d",
            entity,
            "7d",
            f"{week}.clicks_7d_scene_{{scene}}",
            f"clicks of the {entity} in the row's scene",
        ),
        _ctr(f"{entity}_scene_ctr_7d", entity, "7d", f"CTR of the {entity} in the row's scene, smoothed"),
        Feature(
            f"{entity}_ctr_trend",
            entity,
            "double",
            "log-odds",
            "total",
            0,
            "identity",
            f"log-odds of {ctr_7d} minus those of {ctr_total}",
            f"ln(({ctr_7d} / (1 - {ctr_7d})) / ({ctr_total} / (1 - {ctr_total})))",
            step=2,
        ),
        Feature(
            f"{entity}_recent_share",
            entity,
            "double",
            "share",
            "total",
            0,
            "identity",
            f"share of the {entity}'s impressions so far that fell in the last 7 days",
            f"coalesce(try_divide(cast({entity}_impressions_7d AS double), {entity}_impressions_total), 0D)",
            step=2,
        ),
        _days_since(
            f"{entity}_days_since_seen",
            entity,
            "total",
            f"{total}.last_seen",
            f"days since the {entity} was last shown; {NEVER} if never",
        ),
        _days_since(
            f"{entity}_days_since_click",
            entity,
            "total",
            f"{total}.last_clicked",
            f"days since the {entity}'s last click; {NEVER} if never",
        ),
        Feature(
            f"{entity}_age_days",
            entity,
            "int",
            "days",
            "total",
            0,
            "log1p",
            f"days since the {entity} was first shown; 0 if never",
            f"datediff(DATE'{{day}}', {total}.first_seen)",
        ),
    )


FEATURES: tuple[Feature, ...] = (
    *_of_entity("user"),
    *_of_entity("item"),
    _count("user_item_impressions_7d", "user_item", "7d", "user_item.impressions_7d", "times this user saw this item"),
    _count("user_item_clicks_7d", "user_item", "7d", "user_item.clicks_7d", "clicks of this user on this item"),
    _days_since(
        "user_item_days_since_seen",
        "user_item",
        "7d",
        "user_item.last_seen",
        f"days since this user saw this item; {NEVER} if not in 7 days",
    ),
    _count(
        "user_topic_impressions_7d",
        "user_topic",
        "7d",
        "user_topic.impressions_7d",
        "impressions of this user with the row's topic",
    ),
    _count(
        "user_topic_clicks_7d",
        "user_topic",
        "7d",
        "user_topic.clicks_7d",
        "clicks of this user with the row's topic",
    ),
    _ctr("user_topic_ctr_7d", "user_topic", "7d", "CTR of this user with the row's topic, smoothed"),
    Feature(
        "scene_ctr_7d",
        "scene",
        "double",
        "rate",
        "7d",
        None,
        "logit",
        "CTR of the scene, smoothed",
        "features_scene.ctr_7d",
    ),
    Feature("hour_of_day", "row", "int", "hours", "row", 0, "identity", "UTC hour of the impression", "hour(l.log_ts)"),
    Feature(
        "day_of_week",
        "row",
        "int",
        "days",
        "row",
        0,
        "identity",
        "1 = Monday, of the impression",
        "weekday(l.log_ts) + 1",
    ),
    Feature(
        "scene_position",
        "row",
        "int",
        "place",
        "row",
        0,
        "identity",
        "place of the scene in the settings, from 0",
        "{scene}",
    ),
)
"""Declared features. `deep_features_0..26` are model inputs as well, as logged (null reads as the training mean)."""


def prior_strength(keys: int, impressions: int, clicks: int, squares: float, shares: float, *, too_few: float) -> float:
    """Return the weight, in impressions, of the scene's CTR against the counts of a user or item, by empirical Bayes.

    The arguments are sums of 7-day counts over the keys (n impressions and x clicks each) of a scene: `impressions` Σn,
    `clicks` Σx, `squares` Σn², `shares` Σx²/n. The beta-binomial strength is 1/ρ - 1 of the intraclass correlation ρ,
    estimated by analysis of variance (Ridout, Demétrio and Firth, Biometrics 1999): the more keys differ, the less the prior
    weighs. With too few keys for an estimate, it is the setting `ctr_smoothing`.
    """
    repeated = impressions - keys
    if min(keys, clicks, impressions - clicks, repeated) < ENOUGH_KEYS:
        return too_few
    between = (shares - clicks**2 / impressions) / (keys - 1)
    within = (clicks - shares) / repeated
    per_key = (impressions - squares / impressions) / (keys - 1)
    low, high = STRENGTH_RANGE
    correlation = (between - within) / (between + (per_key - 1) * within)
    # Two decimals, so that the order in which a cluster adds up floats does not show.
    return round(min(max(1 / correlation - 1, low), high), 2) if correlation > 1 / (high + 1) else high


def features_markdown() -> str:
    """Return `docs/features.md`: the declared features as a table."""
    lines = [
        "# Features",
        "",
        "Made by `ctr features --markdown` from `include/features.py`. A row of day *d* sees what was known at the end of *d*−1.",
        "A topic is the first of the item's entities as logged with the impression: an item may have several. CTRs are smoothed",
        "towards the scene's (architecture.md, Priors).",
        "",
        "| feature | key | type | unit | looks back on | unseen key | model sees | meaning |",
        "|---" * 8 + "|",
    ]
    for feature in FEATURES:
        default = (
            "the scene's CTR" if feature.default is None else "" if feature.grain == "row" else f"{feature.default:g}"
        )
        key = feature.grain.replace("_", " × ")
        lines.append(
            f"| `{feature.name}` | {key} | {feature.type} | {feature.unit} | {_WINDOWS[feature.window]} | {default} "
            f"| {feature.transform} | {feature.meaning} |"
        )
    lines.append(
        f"| `{DEEP_FEATURES[0]}` … `{DEEP_FEATURES[-1]}` | row | double |  | the impression |  | identity | as logged |"
    )
    return "\n".join(lines) + "\n"
