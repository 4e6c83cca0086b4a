"""Figures of `benchmarks.quality.compare`: metrics of each model on each evaluation day, their means, differences and intervals.

All models of a home are resampled together, and a user has one weight on all days, so differences are paired and the
interval of a mean over days allows for users who come back. Deviations between days and between seeds are separate.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.quality.homes import Home
from benchmarks.quality.models import LIGHTGBM, LIGHTGBM_TEXT, PREVIOUS_VARIANT, evaluation_rows
from include.schemas import LEVELS
from training.evaluate import metrics, oracle
from training.evaluate.bootstrap import GroupMetrics, Scored, interval, point, resample
from training.evaluate.day_metrics import MIN_CLASS
from training.evaluate.groups import Names
from training.evaluate.metrics import Floats, Integers

ORACLE = "oracle"
"""The true click probabilities of a generated log, scored like a model: the best that is possible."""
CELLS = {f"{user}_user_{item}_item_auc": (user, item) for user in LEVELS for item in LEVELS}
"""AUC by user level and item level."""
METRICS = (
    "auc",
    "scene_mean_auc",
    "gauc",
    "log_loss",
    "pcoc",
    *(f"{level}_item_auc" for level in LEVELS),
    *CELLS,
)
COMPARED = ("auc", "scene_mean_auc", "gauc", "log_loss", "zero_item_auc", *CELLS)
LOWER_IS_BETTER = ("log_loss",)
Measured = dict[str, Floats]
"""Metrics of a model by name, `[days, 1 + resamples]`: the sample, then its resamples; NaN where a day has too little data."""


@dataclass(frozen=True)
class EvaluatedRows:
    """The rows of all evaluation days of a home, day after day; arrays `[rows]`, `user` and `day` numbered from 0."""

    label: Integers
    user: Integers
    day: Integers
    scene: Names
    user_level: Names
    item_level: Names
    event_id: pa.Array

    @classmethod
    def of(cls, home: Home) -> "EvaluatedRows":
        """Return the rows in the order in which the fits predict them."""
        tables = [evaluation_rows(home.lake, day) for day in home.evaluated]
        columns = ["label", "user_id", "scene", "user_level", "item_level", "event_id"]
        rows = pa.concat_tables([table.select(columns) for table in tables])
        return cls(
            label=rows["label"].to_numpy().astype(np.int64),
            user=rows["user_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64),
            day=np.repeat(np.arange(len(tables)), [len(table) for table in tables]),
            scene=np.asarray(rows["scene"].to_pylist(), np.str_),
            user_level=np.asarray(rows["user_level"].to_pylist(), np.str_),
            item_level=np.asarray(rows["item_level"].to_pylist(), np.str_),
            event_id=rows["event_id"].combine_chunks(),
        )


def best_possible(home: Home, rows: EvaluatedRows) -> Floats | None:
    """Return true click probabilities `[rows]` of a generated log; None unless every row has one."""
    truths = [oracle.truth(day, home.settings(home.seeds[0])) for day in home.evaluated]
    available = [truth for truth in truths if truth is not None]
    if len(available) < len(truths):
        return None
    table = pa.concat_tables(available)
    index = pa.compute.index_in(rows.event_id, value_set=table["event_id"].combine_chunks())
    return None if index.null_count else table["probability"].take(index).to_numpy()


def measure(
    rows: EvaluatedRows, predicted: Sequence[Floats], scenes: Sequence[str], resamples: int, name: str
) -> list[Measured]:
    """Return the metrics of each of some predictions `[rows]`; `name` seeds the resamples."""
    groups = _groups(rows, scenes)
    members = list(groups.values())
    models = [GroupMetrics(Scored(rows.label, probability, rows.user), members) for probability in predicted]
    draws = resample(models, resamples, (zlib.crc32(name.encode()),))
    rankable = np.array([_can_rank(rows.label[group]) for group in members])
    measured = []
    for model, probability, drawn in zip(models, predicted, draws, strict=True):
        sample = point(model)
        sample["auc"] = np.array([metrics.auc(rows.label[group], probability[group]) for group in members])
        whole = {metric: np.column_stack([sample[metric], drawn[metric]]) for metric in sample}
        whole["auc"][~rankable] = np.nan
        measured.append(_by_day(whole, list(groups), int(rows.day.max()) + 1))
    return measured


def _groups(rows: EvaluatedRows, scenes: Sequence[str]) -> dict[tuple[int, str], Integers]:
    """Return the rows of each day and of its scenes, item levels and cells; groups without rows are left out."""
    masks = {"all": np.ones(len(rows.label), bool)}
    masks |= {f"scene {scene}": rows.scene == scene for scene in scenes}
    masks |= {f"item {level}": rows.item_level == level for level in LEVELS}
    masks |= {cell: (rows.user_level == user) & (rows.item_level == item) for cell, (user, item) in CELLS.items()}
    groups = {
        (day, name): np.flatnonzero((rows.day == day) & mask)
        for day in range(int(rows.day.max()) + 1)
        for name, mask in masks.items()
    }
    return {name: members for name, members in groups.items() if len(members)}


def _can_rank(label: Integers) -> bool:
    clicks = int(label.sum())
    return min(clicks, len(label) - clicks) >= MIN_CLASS


def _by_day(whole: Mapping[str, Floats], groups: list[tuple[int, str]], days: int) -> Measured:
    """Return metrics by day from metrics by group `[groups, 1 + resamples]`."""
    missing = np.full(next(iter(whole.values())).shape[1], np.nan)
    index = {group: n for n, group in enumerate(groups)}

    def of(metric: str, day: int, group: str) -> Floats:
        return whole[metric][index[day, group]] if (day, group) in index else missing

    def scene_mean(day: int) -> Floats:
        names = [name for number, name in groups if number == day and name.startswith("scene ")]
        aucs = np.stack([of("auc", day, name) for name in names])
        finite = aucs[np.isfinite(aucs[:, 0])]
        return finite.mean(axis=0) if len(finite) else missing

    by_day = {
        **{metric: [of(metric, day, "all") for day in range(days)] for metric in ("auc", "gauc", "log_loss", "pcoc")},
        "scene_mean_auc": [scene_mean(day) for day in range(days)],
        **{f"{level}_item_auc": [of("auc", day, f"item {level}") for day in range(days)] for level in LEVELS},
        **{cell: [of("auc", day, cell) for day in range(days)] for cell in CELLS},
    }
    return {metric: np.stack(by_day[metric]) for metric in METRICS}


@dataclass(frozen=True)
class Cells:
    """A metric of a model on every evaluation day of every seed: `values [cells, 1 + resamples]`, `series [cells]` numbers
    the seeds (and homes) that the cells belong to."""

    values: Floats
    series: Integers

    def __sub__(self, other: "Cells") -> "Cells":
        return Cells(self.values - other.values, self.series)

    def estimate(self) -> dict[str, Any]:
        """Return the mean over the cells with a value, its 95 % interval, and the deviations between days and between seeds."""
        finite = np.isfinite(self.values[:, 0])
        if not finite.any():
            return {"value": None, "low": None, "high": None, "cells": 0, "above_0": 0}
        values = self.values[finite]
        series = self.series[finite]
        mean = values.mean(axis=0)
        bounds = interval(mean[1:])
        by_seed = [values[series == number, 0] for number in np.unique(series)]
        within = [float(seed_values.std(ddof=1)) for seed_values in by_seed if len(seed_values) > 1]
        between = [float(seed_values.mean()) for seed_values in by_seed]
        return {
            "value": _rounded(mean[0]),
            "low": _rounded(bounds[0]) if bounds else None,
            "high": _rounded(bounds[1]) if bounds else None,
            "cells": len(values),
            "above_0": int((values[:, 0] > 0).sum()),
            "deviation_of_days": _rounded(float(np.mean(within))) if within else None,
            "deviation_of_seeds": _rounded(float(np.std(between, ddof=1))) if len(between) > 1 else None,
        }


@dataclass(frozen=True)
class MeasuredHome:
    """The results of `measure` for a home, by model and seed."""

    home: Home
    of: Mapping[tuple[str, int], Measured]


def cells(homes: Sequence[MeasuredHome], model: str, metric: str) -> Cells:
    """Return a metric of a model on every day, of every seed, of every home."""
    parts = [measured.of[model, seed][metric] for measured in homes for seed in measured.home.seeds]
    series = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Cells(np.concatenate(parts), series)


def summary(homes: Sequence[MeasuredHome], models: Sequence[str]) -> dict[str, Any]:
    """Return each model's metrics, its differences to the previous variant and to LightGBM, and its share of the possible AUC."""
    has_oracle = all((ORACLE, home.home.seeds[0]) in home.of for home in homes)
    result: dict[str, Any] = {}
    for model in [*models, *([ORACLE] if has_oracle else [])]:
        entry: dict[str, Any] = {metric: cells(homes, model, metric).estimate() for metric in METRICS}
        result[model] = {"metrics": entry}
        if has_oracle and model != ORACLE:
            result[model]["share_of_possible_auc"] = _share(cells(homes, model, "auc"), cells(homes, ORACLE, "auc"))
        others = {"rung_before": PREVIOUS_VARIANT.get(model), LIGHTGBM: LIGHTGBM, LIGHTGBM_TEXT: LIGHTGBM_TEXT}
        for label, other in others.items():
            if other and other in models and other != model and model != ORACLE:
                changes = {
                    metric: (cells(homes, model, metric) - cells(homes, other, metric)).estimate()
                    for metric in COMPARED
                }
                result[model][f"minus_{label}"] = {"other": other, "changes": changes}
    return result


def by_day(homes: Sequence[MeasuredHome], models: Sequence[str]) -> list[dict[str, Any]]:
    """Return the metrics of each model, seed and day, without intervals."""
    return [
        {"home": measured.home.name, "model": model, "seed": seed, "day": str(day)}
        | {metric: _rounded(values[number, 0]) for metric, values in metrics_of_seed.items()}
        for measured in homes
        for (model, seed), metrics_of_seed in measured.of.items()
        if model in (*models, ORACLE)
        for number, day in enumerate(measured.home.evaluated)
    ]


def _share(model: Cells, best: Cells) -> dict[str, Any]:
    """Return (AUC - 0.5) / (best AUC - 0.5) of the means, with its interval."""
    share = (model.values.mean(axis=0) - 0.5) / (best.values.mean(axis=0) - 0.5)
    bounds = interval(share[1:])
    low, high = bounds or (np.nan, np.nan)
    return {"value": _rounded(share[0]), "low": _rounded(low), "high": _rounded(high)}


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
