"""Which checks a staged table must pass: plain declarations, evaluated by `spark_jobs/audit.py` with Great Expectations.

`critical` publishes nothing, `warning` is recorded and shown. What compares a day with other days or tables is computed in
`spark_jobs/checks.py`, in the same record format, with the limits declared here or in the settings.
"""

from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from include.calendar import ONE_DAY
from include.features import FEATURES, PIVOTED, Feature, level_of, scene_columns, smoothed_ctr
from include.schemas import DEEP_FEATURES
from include.settings import settings

Severity = Literal["critical", "warning"]

ENOUGH_ROWS = 500
"""Trailing rows a day (or clicks: a tenth) below which volume, CTR and mix are not compared: chance would decide."""
ENOUGH_CLICKS = 100
"""Clicks that a scene's rows should have had from which an unusual CTR of that scene is critical."""
MAX_MIX_SHIFT = 0.2
"""Warning above this total variation distance between the day's scene shares and the trailing ones."""
MIN_FOUND = {"user": 0.05, "item": 0.05}
"""Warning below this share of training rows whose user or item is in the snapshot of the day before."""
LEAK_SAMPLE_ROWS = 20_000
LEAK_MIN_CLICKS = 50
"""A scene with fewer clicks or non-clicks in the sample says nothing about a single feature's AUC."""


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


def suite(table: str, day: date, prior_ctr: float | None = None) -> Suite:
    """The suite of a table of a day; `prior_ctr` is the prior that CTRs of its rows lean on, where it is known.

    Raises `KeyError` for a table that has none.
    """
    if table == "logs":
        return _logs(day)
    if table in PIVOTED:
        return _snapshot(table, day, prior_ctr)
    if table == "features_user_item":
        key = ("user_id", "item_id")
        return Suite(table, key, row_checks=(_keys_there(key), *_counts()))
    if table == "training":
        return _training(day, prior_ctr)
    raise KeyError(table)


GX_TABLES = {"logs": ("logs",), "features": (*PIVOTED, "features_user_item"), "training": ("training",)}
"""Tables of each stage that have a suite."""

UNIQUE_KEYS: dict[str, dict[str, tuple[str, ...]]] = {
    "logs": {"logs": ("event_id",)},
    "features": {
        "features_user": ("user_id",),
        "features_item": ("item_id",),
        "features_user_item": ("user_id", "item_id"),
        "items": ("item_id",),
    },
    "training": {"training": ("event_id",)},
}
"""Columns that identify a row of a table that others join to: checked to be unique."""


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


def _in_set(column: str, values: tuple[Any, ...]) -> Expectation:
    told = ", ".join(map(str, values))
    return Expectation("expect_column_values_to_be_in_set", column, f"one of {told}", {"value_set": list(values)})


def _inside(day: date, column: str = "log_ts") -> RowCheck:
    holds = f"{column} >= TIMESTAMP'{day} 00:00:00' AND {column} < TIMESTAMP'{day + ONE_DAY} 00:00:00'"
    return RowCheck("expect_time_inside_the_day", column, holds, f"every {column} within {day} (UTC)", (column,))


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
            _in_set("scene", settings().scenes),
            _mostly_there("item_title", 0.8),
        ),
        (_inside(day), readable),
    )


def _counts() -> tuple[RowCheck, ...]:
    counts = ("impressions_7d", "clicks_7d", "impressions_total", "clicks_total")
    return (
        RowCheck(
            "expect_counts_not_negative",
            None,
            " AND ".join(f"{name} >= 0" for name in counts),
            "counts of at least 0, none null",
            counts,
        ),
        RowCheck(
            "expect_clicks_within_impressions",
            "clicks",
            "clicks_7d <= impressions_7d AND clicks_total <= impressions_total",
            "clicks <= impressions",
            counts,
        ),
        RowCheck(
            "expect_window_within_total",
            "impressions_7d",
            "impressions_7d <= impressions_total AND clicks_7d <= clicks_total AND impressions_total >= 1",
            "7-day counts <= counts so far, at least 1 so far",
            counts,
        ),
    )


def _snapshot(table: str, day: date, prior_ctr: float | None) -> Suite:
    who = table.removeprefix("features_")
    few = settings().user_few_impressions if who == "user" else settings().item_few_impressions
    pivot = scene_columns(settings().scenes)
    checks = [
        _keys_there((f"{who}_id",)),
        *_counts(),
        RowCheck(
            "expect_rate_inside_0_1",
            "ctr_7d",
            "ctr_7d > 0 AND ctr_7d < 1 AND ctr_total > 0 AND ctr_total < 1",
            "0 < CTR < 1",
            ("ctr_7d", "ctr_total"),
        ),
        RowCheck(
            "expect_level_of_impressions",
            "level",
            f"level = {level_of('impressions_total', few)}",
            f"few up to {few} impressions, then warm",
            ("level", "impressions_total"),
        ),
        RowCheck(
            "expect_days_in_order",
            "last_seen",
            f"first_seen <= last_seen AND last_seen <= DATE'{day}'",
            f"first seen <= last seen <= {day}",
            ("first_seen", "last_seen"),
        ),
        RowCheck(
            "expect_scenes_sum_to_all",
            "impressions_7d_scene_*",
            f"{' + '.join(pivot[0::2])} = impressions_7d AND {' + '.join(pivot[1::2])} = clicks_7d",
            "per-scene counts sum to the 7-day counts",
            ("impressions_7d", "clicks_7d", *pivot),
        ),
    ]
    if prior_ctr is not None:
        checks.append(_rate_of_counts("ctr_7d", "clicks_7d", "impressions_7d", prior_ctr))
    return Suite(table, (f"{who}_id",), row_checks=tuple(checks))


def _rate_of_counts(rate: str, clicks: str, impressions: str, prior_ctr: float, when: str = "true") -> RowCheck:
    right = smoothed_ctr(clicks, impressions, f"{prior_ctr!r}D")
    return RowCheck(
        "expect_rate_of_its_counts",
        rate,
        f"NOT ({when}) OR abs({rate} - {right}) < 1e-9",
        f"(clicks + k * prior) / (impressions + k), k = {settings().ctr_smoothing:g}, prior = {prior_ctr:.6f}",
        (rate, clicks, impressions),
    )


def _feature_range(feature: Feature) -> RowCheck:
    name = feature.name
    if feature.unit == "rate":
        return RowCheck(
            "expect_feature_in_range", name, f"{name} > 0 AND {name} < 1", "0 < rate < 1, no nulls", (name,)
        )
    return RowCheck("expect_feature_in_range", name, f"{name} >= 0", "at least 0, no nulls", (name,))


def _training_levels(who: str) -> RowCheck:
    few = settings().user_few_impressions if who == "user" else settings().item_few_impressions
    total = f"{who}_impressions_total"
    nothing = f"{who}_clicks_total = 0 AND {who}_impressions_7d = 0 AND {who}_clicks_7d = 0"
    return RowCheck(
        "expect_level_of_impressions",
        f"{who}_level",
        f"{who}_level = {level_of(total, few)} AND ({who}_level <> 'zero' OR ({nothing}))",
        f"zero: no counts at all; few up to {few} impressions before the day; then warm",
        (f"{who}_level", total, f"{who}_clicks_total", f"{who}_impressions_7d"),
    )


def _training(day: date, prior_ctr: float | None) -> Suite:
    keys = ("event_id", "label", "scene", "user_id", "item_id", "log_ts")
    checks = [_inside(day), *map(_feature_range, FEATURES), *map(_training_levels, ("user", "item"))]
    for who in ("user", "item", "user_item"):
        spans = ("7d", "total")
        checks.append(
            RowCheck(
                "expect_clicks_within_impressions",
                f"{who}_clicks_total",
                " AND ".join(f"{who}_clicks_{span} <= {who}_impressions_{span}" for span in spans),
                "clicks <= impressions",
                tuple(f"{who}_{count}_{span}" for count in ("clicks", "impressions") for span in spans),
            )
        )
    if prior_ctr is not None:
        for who in ("user", "item"):
            for span in ("7d", "total"):
                clicks, shown = f"{who}_clicks_{span}", f"{who}_impressions_{span}"
                checks.append(
                    _rate_of_counts(f"{who}_ctr_{span}", clicks, shown, prior_ctr, when=f"{who}_level <> 'zero'")
                )
    expectations = (*map(_not_null, keys), _in_set("label", (0, 1)), _in_set("scene", settings().scenes))
    deep = tuple(_mostly_there(name, 0.05) for name in DEEP_FEATURES[:1])
    return Suite("training", ("event_id",), (*expectations, *deep), tuple(checks))
