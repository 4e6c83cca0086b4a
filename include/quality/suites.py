"""Which checks a staged table must pass: plain declarations, evaluated by `spark_jobs/audit/audit.py` with Great Expectations.

`critical` publishes nothing, `warning` is recorded and shown. What compares a day with other days or tables is computed in
`spark_jobs/audit/checks.py`, in the same record format, with the limits declared here or in the settings.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from include.calendar import ONE_DAY
from include.checks import Severity
from include.features import FEATURES, Feature, Rate, level_of, smoothed_ctr
from include.lake.table_ddl import sql_text
from include.raw.raw_mapping import raw_mapping
from include.schemas import DEEP_FEATURES
from include.settings import get_settings
from include.stages import scene_columns

ENOUGH_ROWS = 500
"""Trailing rows a day (or clicks: a tenth) below which volume, CTR and mix are not compared: chance would decide."""
ENOUGH_CLICKS = 100
"""Clicks that a scene's rows should have had from which an unusual CTR of that scene is critical."""
MAX_MIX_SHIFT = 0.2
"""Warning above this total variation distance between the day's scene shares and the trailing ones."""
MIN_FOUND = {"user": 0.05, "item": 0.05}
"""Warning below this share of training rows whose user or item is in the snapshot of the day before."""
ENOUGH_DAYS = 3
"""Days before from which it is known what a deep feature usually holds."""
REACH = 10
"""Warning for values beyond the range of the days before (of all but 0.1 % of the rows) by more than so many times its width."""
FAR_REACH = 1000
"""Warning for values beyond the range of all but 5 % of the rows, of one day or more, by more than so many times its width."""
LOG_SAMPLE_ROWS = 50_000
"""At least so many rows of a day, where it has them, give its quantiles and its most frequent ids."""
MAX_RESPELLED_SHIFT = 0.5
"""Warning where the share of rows with ids such as 123.0 or 00123 differs by more from that of the days before."""
NULL_WORDS = (
    *(
        "null",
        "(null)",
        "<null>",
        "[null]",
        "nil",
        "none",
        "nan",
        "na",
        "n/a",
        "#n/a",
        "\\n",
        "undefined",
        "unknown",
        "missing",
    ),
    *("-", "--", "-1", "?", ".", "''", '""', "[]", "{}"),
)
"""Ids that stand for none, in lower case."""
LEAK_SAMPLE_ROWS = 20_000
LEAK_MIN_CLICKS = 50
"""A scene with fewer clicks or non-clicks in the sample says nothing about a single column's AUC."""
LEAK_MIN_DAYS = 3
"""Recent days from which a column's usual AUC is known."""
LEAK_SIGMAS = 5.0
"""Standard errors that a column's AUC may lie above its usual one and the margin of the settings."""
LEAK_CHECKS = (
    "expect_features_before_the_day",
    "expect_inputs_of_features_before_the_day",
    "expect_files_of_the_days_before",
    "expect_counts_of_the_days_before",
    "expect_rate_of_its_counts",
    "expect_unique_key",
    "expect_no_leak",
)
"""Checks of a training partition that tell a leak: the task `audit_leakage` fails with them."""
RECOMPUTED_KEYS = 200
"""About how many users, and how many items, have their counts compared with the tables of the days before."""


@dataclass(frozen=True)
class Expectation:
    """One Great Expectations expectation: `type` as in GX, its arguments, and in words what is expected."""

    type: str
    column: str | None
    expected: str
    arguments: dict[str, Any] = field(default_factory=dict)
    severity: Severity = "critical"


@dataclass(frozen=True)
class RowCheck:
    """A condition that every row must meet, in SQL: evaluated by GX as a Boolean column that has to be true everywhere.

    `shows` are the columns that a sample of failing rows needs to be understood.
    """

    name: str
    column: str | None
    holds: str
    expected: str
    shows: tuple[str, ...] = ()
    severity: Severity = "critical"


@dataclass(frozen=True)
class Suite:
    """The checks of one table; `key` identifies a row, in samples of failing ones and where it must be unique."""

    table: str
    key: tuple[str, ...]
    expectations: tuple[Expectation, ...] = ()
    row_checks: tuple[RowCheck, ...] = ()


@dataclass(frozen=True)
class Prior:
    """What the CTRs of a scene lean on: its CTR, and that CTR's weight (in impressions) for users and for items."""

    ctr: float
    user_strength: float
    item_strength: float


Priors = dict[str, Prior]
"""By scene."""


@dataclass(frozen=True)
class Known:
    """What suites know besides a table: priors of its CTRs, and scenes of its days that the settings no longer list."""

    priors: Priors = field(default_factory=dict)
    unlisted_scenes: tuple[str, ...] = ()


def _not_null(column: str) -> Expectation:
    return Expectation("expect_column_values_to_not_be_null", column, "no nulls")


def _keys_there(key: tuple[str, ...]) -> RowCheck:
    holds = " AND ".join(f"{column} IS NOT NULL" for column in key)
    return RowCheck("expect_column_values_to_not_be_null", ", ".join(key), holds, "no nulls")


def _mostly_there(column: str, share: float) -> Expectation:
    return Expectation(
        "expect_column_values_to_not_be_null",
        column,
        f"at most {1 - share:.0%} nulls",
        {"mostly": share},
        severity="warning",
    )


def _present(*expectations: Expectation) -> tuple[Expectation, ...]:
    """Return the expectations of columns that the log has: those that the mapping declares absent are null in every row."""
    absent = raw_mapping().absent()
    return tuple(expectation for expectation in expectations if expectation.column not in absent)


def _in_set(column: str, values: tuple[Any, ...]) -> Expectation:
    allowed = ", ".join(map(str, values))
    return Expectation("expect_column_values_to_be_in_set", column, f"one of {allowed}", {"value_set": list(values)})


def _inside(day: date, column: str = "log_ts") -> RowCheck:
    holds = f"{column} >= TIMESTAMP'{day} 00:00:00' AND {column} < TIMESTAMP'{day + ONE_DAY} 00:00:00'"
    return RowCheck(
        "expect_time_inside_the_day",
        column,
        holds,
        f"every {column} within {day} ({raw_mapping().time.days_in})",
        (column,),
    )


def _logs(day: date) -> Suite:
    keys = ("event_id", "user_id", "item_id", "log_ts", "label", "scene")
    readable = RowCheck(
        "expect_readable_text",
        "item_title",
        "item_title IS NULL OR NOT contains(item_title, '\ufffd')",
        "titles in UTF-8",
        ("item_title",),
        severity="warning",
    )
    return Suite(
        "logs",
        ("event_id",),
        (
            *map(_not_null, keys),
            _in_set("label", (0, 1)),
            _in_set("scene", get_settings().scenes),
            *_present(_mostly_there("item_title", 0.8)),
        ),
        (_inside(day), readable),
    )


def _counts(span: str) -> tuple[RowCheck, ...]:
    impressions = f"impressions_{span}"
    clicks = f"clicks_{span}"
    return (
        RowCheck(
            "expect_counts_of_at_least_one_impression",
            impressions,
            f"{impressions} >= 1 AND {clicks} >= 0",
            "at least 1 impression, at least 0 clicks, none null",
            (impressions, clicks),
        ),
        RowCheck(
            "expect_clicks_within_impressions",
            clicks,
            f"{clicks} <= {impressions}",
            "clicks <= impressions",
            (impressions, clicks),
        ),
    )


def _week(table: str, unlisted: tuple[str, ...]) -> Suite:
    key = f"{table.removeprefix('features_')}_id"
    pivot = scene_columns(get_settings().scenes)
    # Rows of a scene that was removed from the settings count on, without columns of their own.
    sums = "<=" if unlisted else "="
    by_scene = RowCheck(
        "expect_scenes_sum_to_all",
        "impressions_7d_scene_*",
        f"{' + '.join(pivot[0::2])} {sums} impressions_7d AND {' + '.join(pivot[1::2])} {sums} clicks_7d",
        f"per-scene counts sum to at most the 7-day counts, which include unlisted scenes: {', '.join(unlisted)}"
        if unlisted
        else "per-scene counts sum to the 7-day counts",
        ("impressions_7d", "clicks_7d", *pivot),
    )
    return Suite(table, (key,), row_checks=(_keys_there((key,)), *_counts("7d"), by_scene))


def _totals(table: str, day: date) -> Suite:
    key = f"{table.removeprefix('totals_')}_id"
    dates = RowCheck(
        "expect_days_in_order",
        "last_seen",
        f"first_seen <= last_seen AND last_seen <= DATE'{day}' AND (clicks_total > 0) = (last_clicked IS NOT NULL) "
        "AND coalesce(last_clicked BETWEEN first_seen AND last_seen, true)",
        f"first seen <= last clicked <= last seen <= {day}, clicked where there are clicks",
        ("first_seen", "last_seen", "last_clicked", "clicks_total"),
    )
    recent = RowCheck(
        "expect_seen_within_retention",
        "last_seen",
        f"datediff(DATE'{day}', last_seen) < {get_settings().retention_days}",
        f"last seen less than {get_settings().retention_days} days before",
        ("last_seen",),
    )
    return Suite(table, (key,), row_checks=(_keys_there((key,)), *_counts("total"), dates, recent))


def _rate_of_counts(name: str, rate: Rate, priors: Priors) -> RowCheck:
    """Return the check that a rate equals, to nine decimals, that of the row's own counts and the published priors."""
    prior = _of_scene({scene: prior.ctr for scene, prior in priors.items()})
    strength = _of_scene({scene: getattr(prior, rate.strength) for scene, prior in priors.items()})
    return RowCheck(
        "expect_rate_of_its_counts",
        name,
        f"abs({name} - {smoothed_ctr(rate.clicks, rate.impressions, prior, strength)}) < 1e-9",
        "(clicks + k * prior) / (impressions + k), prior and k of the scene on the day before",
        (name, rate.clicks, rate.impressions, "scene"),
    )


def _of_scene(values: dict[str, float]) -> str:
    """Return SQL of the value of a row's scene: a map is a constant, where a case for each of many scenes is too much code."""
    return f"map({', '.join(f'{sql_text(scene)}, {value!r}D' for scene, value in values.items())})[scene]"


def _feature_range(feature: Feature) -> RowCheck:
    name = feature.name
    if feature.unit == "rate":
        return RowCheck(
            "expect_feature_in_range", name, f"{name} > 0 AND {name} < 1", "0 < rate < 1, no nulls", (name,)
        )
    if feature.unit == "share":
        return RowCheck("expect_feature_in_range", name, f"{name} >= 0 AND {name} <= 1", "0 to 1, no nulls", (name,))
    if feature.unit == "log-odds":
        return RowCheck("expect_feature_in_range", name, f"abs({name}) < 20", "between -20 and 20, no nulls", (name,))
    if feature.unit == "days" and feature.grain != "row":
        # What is known at the end of the day before is a day old; the age alone is 0 for what is not known.
        unknown = f" OR ({name} = 0 AND {feature.grain}_level = 'zero')" if feature.default == 0 else ""
        return RowCheck("expect_feature_in_range", name, f"{name} >= 1{unknown}", "at least 1 day, no nulls", (name,))
    return RowCheck("expect_feature_in_range", name, f"{name} >= 0", "at least 0, no nulls", (name,))


def _training_levels(entity: str) -> RowCheck:
    few = get_settings().user_few_impressions if entity == "user" else get_settings().item_few_impressions
    total = f"{entity}_impressions_total"
    nothing = f"{entity}_clicks_total = 0 AND {entity}_impressions_7d = 0 AND {entity}_clicks_7d = 0"
    return RowCheck(
        "expect_level_of_impressions",
        f"{entity}_level",
        f"{entity}_level = {level_of(total, few)} AND ({entity}_level <> 'zero' OR ({nothing}))",
        f"zero: no counts at all; few up to {few} impressions before the day; then warm",
        (f"{entity}_level", total, f"{entity}_clicks_total", f"{entity}_impressions_7d"),
    )


def _training(day: date, priors: Priors) -> Suite:
    keys = ("event_id", "label", "scene", "user_id", "item_id", "log_ts")
    checks = [_inside(day), *map(_feature_range, FEATURES), *map(_training_levels, ("user", "item"))]
    for feature in FEATURES:
        if rate := feature.rate:
            checks.append(
                RowCheck(
                    "expect_clicks_within_impressions",
                    rate.clicks,
                    f"{rate.clicks} <= {rate.impressions}",
                    "clicks <= impressions",
                    (rate.clicks, rate.impressions),
                )
            )
            if priors:
                checks.append(_rate_of_counts(feature.name, rate, priors))
    for entity in ("user", "item"):
        week, total = f"{entity}_impressions_7d", f"{entity}_impressions_total"
        checks.append(
            RowCheck(
                "expect_window_within_total",
                week,
                f"{week} <= {total} AND {entity}_clicks_7d <= {entity}_clicks_total",
                "7-day counts <= counts so far",
                (week, total, f"{entity}_clicks_7d", f"{entity}_clicks_total"),
            )
        )
    expectations = (*map(_not_null, keys), _in_set("label", (0, 1)), _in_set("scene", get_settings().scenes))
    deep = _present(_mostly_there(DEEP_FEATURES[0], 0.05))
    return Suite("training", ("event_id",), (*expectations, *deep), tuple(checks))


SUITES: dict[str, Callable[[date, Known], Suite]] = {
    "logs": lambda day, _: _logs(day),
    "features_user": lambda _, known: _week("features_user", known.unlisted_scenes),
    "features_item": lambda _, known: _week("features_item", known.unlisted_scenes),
    "totals_user": lambda day, _: _totals("totals_user", day),
    "totals_item": lambda day, _: _totals("totals_item", day),
    "training": lambda day, known: _training(day, known.priors),
}
"""The suite of a table, by its name: made for a day and what is known of the days before it."""
