"""Metrics of a day's predictions: of every reported group, for each model, with intervals, and the changes between models.

The intervals are of a bootstrap clustered by user.
"""

from statistics import NormalDist
from typing import Any

import numpy as np

from include.metrics_records import (
    CalibrationBin,
    DayMetrics,
    Estimate,
    Estimates,
    GroupEstimates,
    MeanAlpha,
    ModelEstimates,
)
from include.schemas import LEVELS
from training.evaluate import metrics
from training.evaluate.bootstrap import GroupMetrics, Scored, interval, point, reflected, resample
from training.evaluate.groups import Group, reported_groups
from training.evaluate.metric_names import CHANGES, METRICS, RANKING
from training.evaluate.predictions import MODELS, EvaluationRows, usable

MIN_CLASS = 10
"""AUC and PCOC need this many clicks (AUC also non-clicks), GAUC this many users with both."""
SMALL_SCENE = 20
"""A scene with fewer clicks or non-clicks is one of the small scenes, which are also reported together."""
MIN_ROWS = {"ctr": 1, "log_loss": 20, "ece": 100}
NORMAL_95 = NormalDist().inv_cdf(0.975)
WHOLE = MODELS[:2]
"""Models that are reported in every group, the cells too."""
PAIRS = {
    "change": ("candidate", "champion"),
    "change_from_anchor": ("candidate", "anchor"),
    "change_from_baseline": ("candidate", "baseline"),
    "champion_from_baseline": ("champion", "baseline"),
}
"""Changes in the record, each of a model from another."""


def evaluate(
    rows: EvaluationRows, scenes: tuple[str, ...], resamples: int, seed: tuple[int, ...], *, cells: bool = True
) -> DayMetrics:
    """Return all metrics of a day's predictions.

    A model with a prediction that is not a number in [0, 1] gets no metrics; `unusable` counts such predictions.
    """
    groups = reported_groups(rows.scene, rows.user_level, rows.item_level, scenes)
    small = [group for group in groups if group.by == "scene" and _is_small(rows, group)]
    together = [Group("small_scenes", np.concatenate([group.members for group in small]))] if small else []
    of_cells = [group for group in groups if group.by == "cell"] if cells else []
    groups = [*(group for group in groups if group.by != "cell"), *together, *of_cells]
    predicted = {name: getattr(rows, name) for name in MODELS if getattr(rows, name) is not None}
    scored = {name: Scored(rows.label, value, rows.user) for name, value in predicted.items() if usable(value)}
    if "candidate" not in scored:
        scored = {name: scored_rows for name, scored_rows in scored.items() if name in WHOLE}
    sample = _Sample(rows, groups, scored, resamples, seed)
    return DayMetrics(
        rows=len(rows.label),
        clicks=int(rows.label.sum()),
        users=int(rows.user.max(initial=-1)) + 1,
        resamples=resamples,
        unusable={
            name: int((~(np.isfinite(value) & (value >= 0) & (value <= 1))).sum()) for name, value in predicted.items()
        },
        headline=sample.headline(),
        groups=[sample.entry(group) for group in groups],
        small_scenes=[group.scene for group in small if group.scene],
        alpha=_alpha(rows),
        calibration=_calibration(rows, scored, scenes),
    )


def _is_small(rows: EvaluationRows, scene: Group) -> bool:
    clicks = int(rows.label[scene.members].sum())
    return len(scene.members) > 0 and min(clicks, len(scene.members) - clicks) < SMALL_SCENE


class _Sample:
    """Points and resamples of each model, and the estimates from them."""

    def __init__(
        self,
        rows: EvaluationRows,
        groups: list[Group],
        scored: dict[str, Scored],
        resamples: int,
        seed: tuple[int, ...],
    ) -> None:
        self.rows = rows
        self.groups = groups
        self.scored = scored
        self.models = list(scored)
        self.present = {id(group): n for n, group in enumerate(group for group in groups if len(group.members))}
        members = [group.members for group in groups if len(group.members)]
        # The cells come last, and anchor and baseline have no metrics there.
        count = sum(group.by != "cell" for group in groups if len(group.members))
        models = [
            GroupMetrics(scored_rows, members if name in WHOLE else members[:count])
            for name, scored_rows in scored.items()
        ]
        self.pairs = models[0].pairs if models else np.zeros(len(members), np.int64)
        self.points = {name: point(model) for name, model in zip(scored, models, strict=True)}
        for name, scored_rows in scored.items():
            measured = members if name in WHOLE else members[:count]
            self.points[name]["auc"] = np.array(
                [metrics.auc(scored_rows.label[m], scored_rows.probability[m]) for m in measured]
            )
        draws = resample(models, resamples, seed) if models else []
        self.draws = dict(zip(scored, draws, strict=True))

    def entry(self, group: Group) -> GroupEstimates:
        """Return a group's entry of the record."""
        models: dict[str, Estimates | None] = {
            name: {metric: self.estimate(group, name, metric) for metric in METRICS[1:]}
            if name in self.models
            else None
            for name in WHOLE
        }
        changes = {
            name: self.changes(group, model, other, CHANGES if name == "change" else ("auc",))
            for name, (model, other) in PAIRS.items()
        }
        return GroupEstimates(
            by=group.by,
            scene=group.scene,
            user_level=group.user_level,
            item_level=group.item_level,
            n=len(group.members),
            clicks=int(self.rows.label[group.members].sum()),
            ctr=self.estimate(group, self.models[0], "ctr") if self.models else _unknown("no usable predictions"),
            alpha=_rounded(self.rows.alpha[group.members].mean()) if len(group.members) else None,
            **models,
            **changes,
        )

    def changes(self, group: Group, model: str, other: str, measured: tuple[str, ...]) -> Estimates | None:
        """Return model - other of some metrics in a group; None where one of them has no predictions of it."""
        if not {model, other} <= set(self.models) or (group.by == "cell" and other not in WHOLE):
            return None
        return {metric: self.change(group, metric, model, other) for metric in measured}

    def estimate(self, group: Group, model: str, metric: str) -> Estimate:
        """Return a metric of a model in a group."""
        note = self.lacks(group, metric)
        if note:
            return _unknown(note)
        n = self.present[id(group)]
        return _estimate(self.points[model][metric][n], self.draws[model][metric][n], metric)

    def change(self, group: Group, metric: str, model: str, other: str) -> Estimate:
        """Return model - other of a metric in a group, paired."""
        note = self.lacks(group, metric)
        if note:
            return _unknown(note)
        n = self.present[id(group)]
        value = self.points[model][metric][n] - self.points[other][metric][n]
        draws = self.draws[model][metric][n] - self.draws[other][metric][n]
        return _estimate(value, draws, "change", se=_rounded(np.nanstd(draws)))

    def lacks(self, group: Group, metric: str) -> str | None:
        """Return why a group has too few rows for a metric, or None."""
        rows = len(group.members)
        clicks = int(self.rows.label[group.members].sum())
        if not rows:
            return "no impressions"
        pairs = int(self.pairs[self.present[id(group)]])
        enough = {
            "auc": min(clicks, rows - clicks) >= MIN_CLASS,
            "gauc": pairs >= MIN_CLASS,
            "pcoc": clicks >= MIN_CLASS,
        }.get(metric, rows >= MIN_ROWS.get(metric, 1))
        if enough:
            return None
        counted = f"{clicks} clicks, {rows - clicks} non-clicks"
        return f"insufficient: {counted}" + (f", {pairs} users with both" if metric == "gauc" else "")

    def headline(self) -> ModelEstimates:
        """Return the figures to look at first: each model's overall metrics and means over scenes, and their changes."""
        whole = self.groups[0]
        headline: dict[str, Estimates | None] = dict.fromkeys(("candidate", "champion", "baseline"))
        scaled = self.scaled_log_loss()
        for model in headline:
            if model in self.models:
                of_all = {metric: self.estimate(whole, model, metric) for metric in METRICS[1:]}
                of_scenes = {f"scene_mean_{m}": self.scene_mean((model,), m) for m in RANKING}
                headline[model] = of_all | of_scenes | {"scaled_log_loss": scaled[model]}
        for name, (model, other) in PAIRS.items():
            changes = self.changes(whole, model, other, CHANGES)
            headline[name] = changes and changes | {"scaled_log_loss": scaled[name]}
        if change := headline["change"]:
            change |= {f"scene_mean_{m}": self.scene_mean(("candidate", "champion"), m) for m in RANKING}
        return ModelEstimates(**headline)

    def scaled_log_loss(self) -> Estimates:
        """Return the log loss of each model after `metrics.at_ctr`, by model, and its changes by their names in the record."""
        label = self.rows.label
        user = self.rows.user
        pairs = {name: pair for name, pair in PAIRS.items() if set(pair) <= set(self.models)}
        clicks = int(label.sum())
        if min(clicks, len(label) - clicks) < MIN_CLASS:
            note = f"insufficient: {clicks} clicks, {len(label) - clicks} non-clicks"
            return dict.fromkeys([*self.models, *pairs], _unknown(note))
        losses = {
            model: metrics.row_log_loss(label, metrics.at_ctr(label, scored_rows.probability))
            for model, scored_rows in self.scored.items()
        }
        estimates = {model: mean_of_rows(of_model, user) for model, of_model in losses.items()}
        return estimates | {
            name: mean_of_rows(losses[model] - losses[other], user) for name, (model, other) in pairs.items()
        }

    def scene_mean(self, models: tuple[str, ...], metric: str) -> Estimate:
        """Return the unweighted mean over the scenes with enough rows; of two models, the first minus the second."""
        scenes = [group for group in self.groups if group.by == "scene" and not self.lacks(group, metric)]
        if not scenes:
            return _unknown("insufficient: no scene has enough clicks")
        indices = [self.present[id(group)] for group in scenes]
        signs = (1, -1)
        value = sum(
            sign * self.points[model][metric][indices].mean() for sign, model in zip(signs, models, strict=False)
        )
        draws = sum(
            sign * self.draws[model][metric][indices].mean(axis=0) for sign, model in zip(signs, models, strict=False)
        )
        return _estimate(value, draws, metric, scenes=[group.scene for group in scenes])


def _alpha(rows: EvaluationRows) -> MeanAlpha:
    """Return the mean trust in text by user level and item level, None where there is no row."""
    return MeanAlpha(
        all=_mean(rows.alpha),
        user_level={level: _mean(rows.alpha[rows.user_level == level]) for level in LEVELS},
        item_level={level: _mean(rows.alpha[rows.item_level == level]) for level in LEVELS},
        cell={
            f"{of_user}/{of_item}": _mean(rows.alpha[(rows.user_level == of_user) & (rows.item_level == of_item)])
            for of_user in LEVELS
            for of_item in LEVELS
        },
    )


def _calibration(
    rows: EvaluationRows, scored: dict[str, Scored], scenes: tuple[str, ...]
) -> dict[str, dict[str, list[CalibrationBin]]]:
    """Return calibration curves of candidate and champion: `all` and by scene."""
    chosen = {"all": np.ones(len(rows.label), bool)} | {scene: rows.scene == scene for scene in scenes}
    return {
        name: {
            key: metrics.calibration_curve(scored[name].label[mask], scored[name].probability[mask])
            for key, mask in chosen.items()
            if mask.any()
        }
        for name in WHOLE
        if name in scored
    }


def _estimate(value: float, draws: metrics.Floats, metric: str, **more: Any) -> Estimate:
    """Return a metric with its interval from the resamples, and fields `more`."""
    bounds = interval(draws)
    if bounds is None or not np.isfinite(value):
        return Estimate(value=None, note="insufficient: too many resamples without a click", **more)
    low, high = reflected(value, bounds) if metric == "ece" else bounds
    return Estimate(value=_rounded(value), low=_rounded(low), high=_rounded(high), **more)


def mean_of_rows(values: metrics.Floats, user: metrics.Integers) -> Estimate:
    """Return the mean of `[n]` values with its interval and standard error, where a user's rows depend on each other."""
    mean, se = metrics.mean_of_rows(values, user)
    margin = NORMAL_95 * se
    return Estimate(value=_rounded(mean), low=_rounded(mean - margin), high=_rounded(mean + margin), se=_rounded(se))


def _unknown(note: str) -> Estimate:
    return Estimate(value=None, note=note)


def _mean(values: metrics.Floats) -> float | None:
    return _rounded(values.mean()) if len(values) and np.isfinite(values).all() else None


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
