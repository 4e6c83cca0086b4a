"""Checks that no deep feature of a day's log lies far beyond what its column held on the days before.

A warning: models bound their inputs, so that a few such rows cost those rows and not the column.
"""

from functools import reduce
from typing import Any

import pandas as pd
from pyspark.sql import Column, DataFrame, Row, Window
from pyspark.sql import functions as F

from include.checks import Check, Measure, check_result
from include.plural import counted
from include.quality.masking import masked
from include.quality.suites import ENOUGH_DAYS, ENOUGH_ROWS, FAR_REACH, REACH
from include.raw.raw_mapping import raw_mapping
from include.schemas import DEEP_FEATURES
from spark_jobs.audit.gx import SAMPLE_ROWS

PROBABILITIES = [0.001, 0.01, 0.05, 0.95, 0.99, 0.999]
_LOWEST, _LOW, _INNER_LOW, _INNER_HIGH, _HIGH, _HIGHEST = range(1, 7)
"""Positions in `Quantiles`, whose first and last are the smallest and the largest value."""
_NESTED = ((_INNER_LOW, _INNER_HIGH), (_LOW, _HIGH), (_LOWEST, _HIGHEST))
_DIGITS = 6

Quantiles = list[float]
"""Of a column on a day: its smallest value, the quantiles of `PROBABILITIES`, its largest value."""
Range = tuple[float, float]


def value_facts() -> list[Column]:
    """Return what is taken from all rows: the smallest and the largest value of each deep feature."""
    return [part(name).alias(f"{part.__name__} {name}") for name in DEEP_FEATURES for part in (F.min, F.max)]


def value_checks(
    logs: DataFrame, sample: pd.DataFrame, facts: Row, past: list[dict[str, Any]]
) -> tuple[dict[str, Quantiles], list[Check]]:
    """Return the quantiles of each deep feature for the profile, and a check of each that the mapping does not declare absent.

    `sample` are rows of the log, `facts` the row of `value_facts`, `past` the profiles of the days before.
    """
    inner = sample[[*DEEP_FEATURES]].quantile(PROBABILITIES, interpolation="nearest")
    today = {
        name: [_rounded(value) for value in (facts[f"min {name}"], *inner[name], facts[f"max {name}"])]
        for name in DEEP_FEATURES
        if sample[name].notna().any()
    }
    before = {
        name: [(day["rows"], day["quantiles"][name]) for day in past if name in day.get("quantiles", {})]
        for name in today
    }
    ranges = {name: usual_range(today[name], before[name]) for name in today}
    beyond = {
        name: ranges[name]
        for name, values in today.items()
        if values[0] < ranges[name][0] or ranges[name][1] < values[-1]
    }
    counts, samples = _rows_beyond(logs, beyond) if beyond else ({}, {})
    declared = [name for name in DEEP_FEATURES if name not in raw_mapping().absent()]
    return today, [
        _check(name, ranges.get(name), len(before.get(name, [])), counts.get(name, 0), samples.get(name, []))
        for name in declared
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def usual_range(today: Quantiles, before: list[tuple[int, Quantiles]]) -> Range:
    """Return the range in which a column's values are usual, from its rows and quantiles on each day `before`.

    It is the range of all but 5 % of the rows at either end, on the days before or else on the day itself, stretched by
    `FAR_REACH` times its width. With enough days before, it is also that of all but 0.1 % at either end, stretched by `REACH`
    times its width, and by more on a side where the last percent of the rows reaches far by itself.
    """
    days = [quantiles for _, quantiles in before] or [today]
    enough = len(before) >= ENOUGH_DAYS and sum(rows for rows, _ in before) >= ENOUGH_ROWS
    # With enough days, one bad day does not widen the range: the most extreme is left out.
    position = 1 if enough else 0
    held = [sorted(day[n] for day in days)[position if n <= _INNER_LOW else -1 - position] for n in range(len(today))]
    pairs = [(held[lower], held[upper]) for lower, upper in _NESTED]
    inner = next(((lower, upper) for lower, upper in pairs if lower < upper), pairs[-1])
    reach = FAR_REACH * _width(*inner)
    low, high = inner[0] - reach, inner[1] + reach
    if enough:
        reach = REACH * _width(held[_LOWEST], held[_HIGHEST])
        lower_tail = _heaviness(held[_INNER_LOW] - held[_LOW], held[_LOW] - held[_LOWEST])
        upper_tail = _heaviness(held[_HIGH] - held[_INNER_HIGH], held[_HIGHEST] - held[_HIGH])
        low = max(low, held[_LOWEST] - reach * lower_tail)
        high = min(high, held[_HIGHEST] + reach * upper_tail)
    return low, high


def _width(low: float, high: float) -> float:
    """Return the width of a range; of a single value its size, and 1 for zero."""
    return high - low if high > low else abs(low) or 1.0


def _heaviness(inner: float, outer: float) -> float:
    """Return by how much more a heavy tail may reach, from its widths between 5 and 1 % and between 1 and 0.1 % of the rows.

    The ratio of the two is about 1 for a normal distribution, and 10 where one row in ten reaches ten times as far.
    """
    ratio = outer / inner if inner > 0 else 10.0 if outer > 0 else 1.0
    return max(1.0, ratio) ** 2


def _rows_beyond(logs: DataFrame, ranges: dict[str, Range]) -> tuple[dict[str, int], dict[str, list[dict[str, Any]]]]:
    """Return how many rows of each column lie outside its range, and those that lie farthest out."""
    parts = [
        logs.where((F.col(name) < low) | (F.col(name) > high)).select(
            F.lit(name).alias("column"), "event_id", "scene", F.col(name).alias("value"), _distance(name, low, high)
        )
        for name, (low, high) in ranges.items()
    ]
    found = reduce(DataFrame.unionByName, parts)
    counts = {row["column"]: row["count"] for row in found.groupBy("column").count().collect()}
    farthest = Window.partitionBy("column").orderBy(F.desc("distance"), "event_id")
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in ranges}
    for row in found.withColumn("rank", F.row_number().over(farthest)).where(f"rank <= {SAMPLE_ROWS}").collect():
        shown = {"event_id": row["event_id"], "scene": row["scene"], row["column"]: row["value"]}
        samples[row["column"]].append({name: masked(name, value) for name, value in shown.items()})
    return counts, samples


def _distance(name: str, low: float, high: float) -> Column:
    return F.greatest(F.lit(low) - F.col(name), F.col(name) - F.lit(high)).alias("distance")


def _check(name: str, usual: Range | None, days: int, rows: int, sample: list[dict[str, Any]]) -> Check:
    farthest = ", ".join(str(value) for value in dict.fromkeys(row[name] for row in sample[:3]))
    source = f"the last {days} days" if days else "the day itself"
    expected = f"{usual[0]:.4g} to {usual[1]:.4g}, from {source}" if usual else "nothing to compare: no values"
    found = check_result(
        "logs",
        "expect_usual_values",
        rows == 0,
        expected,
        f"{counted(rows, 'row')} beyond, such as {farthest}" if rows else "none beyond",
        column=name,
        severity="warning",
        failing_rows=rows,
        measure=Measure(rows, high=0),
    )
    return found.model_copy(update={"sample": sample})
