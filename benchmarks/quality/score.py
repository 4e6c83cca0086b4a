"""Figures of `benchmarks.quality.compare`: metrics of each model on each evaluation day, their means, differences and intervals.

All models of a home are resampled together, and a user has one weight on all days, so differences are paired and the
interval of a mean over days allows for users who come back. What days and seeds differ by is told apart from it.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.quality.homes import Home
from benchmarks.quality.models import BEFORE, LIGHTGBM, LIGHTGBM_TEXT, evaluation_rows
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
"""Metrics of a model by name, `[days, 1 + resamples]`: the sample itself, then its resamples; NaN where a day cannot tell."""


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
        """As the fits predict them."""
        tables = [evaluation_rows(home.store, day) for day in home.evaluated]
        columns = ["label", "user_id", "scene", "user_level", "item_level", "event_id"]
        rows = pa.concat_tables([each.select(columns) for each in tables])
        return cls(
            label=rows["label"].to_numpy().astype(np.int64),
            user=rows["user_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64),
            day=np.repeat(np.arange(len(tables)), [len(each) for each in tables]),
            scene=np.asarray(rows["scene"].to_pylist(), np.str_),
            user_level=np.asarray(rows["user_level"].to_pylist(), np.str_),
            item_level=np.asarray(rows["item_level"].to_pylist(), np.str_),
            event_id=rows["event_id"].combine_chunks(),
        )


def best_possible(home: Home, rows: EvaluatedRows) -> Floats | None:
    """True click probabilities `[rows]` of a generated log; None where they are not known of every row."""
    truths = [oracle.truth(day, home.settings(home.seeds[0])) for day in home.evaluated]
    known = [each for each in truths if each is not None]
    if len(known) < len(truths):
        return None
    table = pa.concat_tables(known)
    at = pa.compute.index_in(rows.event_id, value_set=table["event_id"].combine_chunks())
    return None if at.null_count else table["probability"].take(at).to_numpy()


def measure(
    rows: EvaluatedRows, predicted: Sequence[Floats], scenes: Sequence[str], resamples: int, name: str
) -> list[Measured]:
    """The metrics of each of some predictions `[rows]`; `name` seeds the resamples."""
    groups = _groups(rows, scenes)
    members = list(groups.values())
    models = [GroupMetrics(Scored(rows.label, each, rows.user), members) for each in predicted]
    draws = resample(models, resamples, (zlib.crc32(name.encode()),))
    told = [_can_rank(rows.label[each]) for each in members]
    measured = []
    for model, probability, drawn in zip(models, predicted, draws, strict=True):
        sample = point(model)
        sample["auc"] = np.array([metrics.auc(rows.label[each], probability[each]) for each in members])
        whole = {metric: np.column_stack([sample[metric], drawn[metric]]) for metric in sample}
        whole["auc"][~np.array(told)] = np.nan
        measured.append(_by_day(whole, list(groups), int(rows.day.max()) + 1))
    return measured


def _groups(rows: EvaluatedRows, scenes: Sequence[str]) -> dict[tuple[int, str], Integers]:
    """The rows of each day, of each of its scenes, item levels and cells; groups without rows are left out."""
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
    """Metrics by day from metrics by group `[groups, 1 + resamples]`."""
    nothing = np.full(next(iter(whole.values())).shape[1], np.nan)
    at = {group: place for place, group in enumerate(groups)}

    def of(metric: str, day: int, group: str) -> Floats:
        return whole[metric][at[day, group]] if (day, group) in at else nothing

    def scene_mean(day: int) -> Floats:
        names = [name for number, name in groups if number == day and name.startswith("scene ")]
        aucs = np.stack([of("auc", day, name) for name in names])
        told = aucs[np.isfinite(aucs[:, 0])]
        return told.mean(axis=0) if len(told) else nothing

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
        """Mean over the cells that can tell, its 95 % interval, and the deviation between days and between seeds."""
        told = np.isfinite(self.values[:, 0])
        if not told.any():
            return {"value": None, "low": None, "high": None, "cells": 0, "above_0": 0}
        values, series = self.values[told], self.series[told]
        mean = values.mean(axis=0)
        bounds = interval(mean[1:])
        by_seed = [values[series == one, 0] for one in np.unique(series)]
        within = [float(each.std(ddof=1)) for each in by_seed if len(each) > 1]
        between = [float(each.mean()) for each in by_seed]
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
    """What `measure` found in a home, by model and seed."""

    home: Home
    of: Mapping[tuple[str, int], Measured]


def cells(homes: Sequence[MeasuredHome], model: str, metric: str) -> Cells:
    """A metric of a model on every day, of every seed, of every home."""
    parts = [(each.of[model, seed][metric]) for each in homes for seed in each.home.seeds]
    series = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return Cells(np.concatenate(parts), series)


def summary(homes: Sequence[MeasuredHome], models: Sequence[str]) -> dict[str, Any]:
    """Of each model its metrics, differences to the rung before and to LightGBM, and its share of what is possible."""
    known = all((ORACLE, home.home.seeds[0]) in home.of for home in homes)
    told: dict[str, Any] = {}
    for model in [*models, *([ORACLE] if known else [])]:
        entry: dict[str, Any] = {metric: cells(homes, model, metric).estimate() for metric in METRICS}
        told[model] = {"metrics": entry}
        if known and model != ORACLE:
            told[model]["share_of_possible_auc"] = _share(cells(homes, model, "auc"), cells(homes, ORACLE, "auc"))
        others = {"rung_before": BEFORE.get(model), LIGHTGBM: LIGHTGBM, LIGHTGBM_TEXT: LIGHTGBM_TEXT}
        for label, other in others.items():
            if other and other in models and other != model and model != ORACLE:
                changes = {
                    metric: (cells(homes, model, metric) - cells(homes, other, metric)).estimate()
                    for metric in COMPARED
                }
                told[model][f"minus_{label}"] = {"other": other, "changes": changes}
    return told


def by_day(homes: Sequence[MeasuredHome], models: Sequence[str]) -> list[dict[str, Any]]:
    """The metrics of each model, seed and day, without intervals."""
    return [
        {"home": each.home.name, "model": model, "seed": seed, "day": str(day)}
        | {metric: _rounded(values[number, 0]) for metric, values in measured.items()}
        for each in homes
        for (model, seed), measured in each.of.items()
        if model in (*models, ORACLE)
        for number, day in enumerate(each.home.evaluated)
    ]


def _share(model: Cells, best: Cells) -> dict[str, Any]:
    """(AUC - 0.5) / (best AUC - 0.5) of the means, with its interval."""
    share = (model.values.mean(axis=0) - 0.5) / (best.values.mean(axis=0) - 0.5)
    bounds = interval(share[1:])
    low, high = bounds or (np.nan, np.nan)
    return {"value": _rounded(share[0]), "low": _rounded(low), "high": _rounded(high)}


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
