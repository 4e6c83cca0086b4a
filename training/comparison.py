"""Candidate against champion on the same rows of a day: paired changes and absolute figures, with their resamples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training import metrics
from training.bootstrap import GroupMetrics, Scored, interval, point, resample
from training.gate_policy import ClickMargin
from training.gate_rules import Change, Levels
from training.metrics import Floats, Integers
from training.predictions import EvaluationRows

MIN_CLASS = 10
"""A scene counts in a ranking change from this many users with both classes (GAUC), or clicks and non-clicks (AUC)."""


@dataclass(frozen=True)
class ColdPool:
    """Rows that are cold on one side, over the scenes that have enough of them; `members` by scene."""

    name: str
    levels: tuple[str, ...]
    members: dict[str, Integers]
    clicks: int
    non_clicks: int

    def enough(self, rule: ClickMargin) -> bool:
        """Whether it is large enough to be judged."""
        return self.clicks >= rule.min_clicks and self.non_clicks >= rule.min_non_clicks


def cold_pools(rows: EvaluationRows, scenes: Sequence[str], rule: ClickMargin) -> list[ColdPool]:
    """Rows of unknown items, and of unknown users; with the barely known ones too where those alone are too few."""
    pools = []
    for side, level in (("items", rows.item_level), ("users", rows.user_level)):
        pool = _pool(rows, scenes, side, ("zero",), level)
        if not pool.enough(rule):
            pool = _pool(rows, scenes, side, ("zero", "few"), level)
        pools.append(pool)
    return pools


def _pool(
    rows: EvaluationRows, scenes: Sequence[str], side: str, levels: tuple[str, ...], level: np.ndarray
) -> ColdPool:
    cold = np.isin(level, levels)
    members, clicks, others = {}, 0, 0
    for scene in scenes:
        of_scene = np.flatnonzero(cold & (rows.scene == scene))
        clicked = int(rows.label[of_scene].sum())
        if min(clicked, len(of_scene) - clicked) >= MIN_CLASS:
            members[scene] = of_scene
            clicks, others = clicks + clicked, others + len(of_scene) - clicked
    return ColdPool(f"cold {side}", levels, members, clicks, others)


class Comparison:
    """Both models' metrics of the whole day, of each scene, and of each scene's part of each pool, resampled together."""

    def __init__(
        self,
        rows: EvaluationRows,
        scenes: Sequence[str],
        pools: Sequence[ColdPool],
        resamples: int,
        seed: Sequence[int],
    ) -> None:
        in_scene = {scene: np.flatnonzero(rows.scene == scene) for scene in scenes}
        self.scenes = [scene for scene in scenes if len(in_scene[scene])]
        groups = {"all": np.arange(len(rows.label))} | {scene: in_scene[scene] for scene in self.scenes}
        self._at = {name: n for n, name in enumerate(groups)}
        members = list(groups.values())
        self._pool_at: dict[str, list[int]] = {}
        self._pool_weight: dict[str, Floats] = {}
        for pool in pools:
            self._pool_at[pool.name] = [len(members) + n for n in range(len(pool.members))]
            self._pool_weight[pool.name] = np.array(
                [rows.label[of_scene].sum() for of_scene in pool.members.values()], float
            )
            members += list(pool.members.values())
        self.clicks = {name: int(rows.label[members[at]].sum()) for name, at in self._at.items()}
        self.non_clicks = {name: len(members[at]) - self.clicks[name] for name, at in self._at.items()}
        self._label, self._whole = rows.label, rows.candidate
        models = [
            GroupMetrics(Scored(rows.label, probability, rows.user), members)
            for probability in (rows.candidate, rows.champion)
            if probability is not None
        ]
        self.users_with_both = {name: int(models[0].pairs[at]) for name, at in self._at.items()}
        self.paired = len(models) == 2
        self._points = [point(model) for model in models]
        self._draws = resample(models, resamples, seed)

    def auc(self) -> tuple[float, tuple[float, float] | None]:
        """The candidate's AUC of all rows, and its 95 % interval."""
        return metrics.auc(self._label, self._whole), interval(self._draws[0]["auc"][0])

    def pcoc(self, group: str, level: float) -> tuple[float, tuple[float, float] | None, float | None]:
        """The candidate's PCOC of `all` or of a scene, its interval, and the champion's PCOC."""
        at = self._at[group]
        other = float(self._points[1]["pcoc"][at]) if self.paired else None
        return float(self._points[0]["pcoc"][at]), interval(self._draws[0]["pcoc"][at], level), other

    def scenes_by_users(self, least: int) -> list[str]:
        """The scenes with at least this many users who clicked and did not click."""
        return [scene for scene in self.scenes if self.users_with_both[scene] >= least]

    def scenes_by_clicks(self, rule: ClickMargin) -> list[str]:
        """The scenes with the clicks and non-clicks that a rule asks for."""
        return [
            scene
            for scene in self.scenes
            if self.clicks[scene] >= rule.min_clicks and self.non_clicks[scene] >= rule.min_non_clicks
        ]

    def scene_mean_gauc(self, levels: Levels) -> Change | None:
        """Change of the unweighted mean over the scenes that have `MIN_CLASS` users with both classes."""
        at = [self._at[scene] for scene in self.scenes_by_users(MIN_CLASS)]
        if not at:
            return None
        points, draws = self._paired("gauc", at)
        return Change.of(points.mean(), draws.mean(axis=0), levels)

    def scene_change(self, metric: str, scene: str, levels: Levels) -> Change | None:
        """Change of a metric in one scene."""
        points, draws = self._paired(metric, [self._at[scene]])
        return Change.of(points[0], draws[0], levels)

    def cold_auc(self, pool: str, levels: Levels) -> Change | None:
        """Change of AUC in a pool, as the mean of its scenes weighted by clicks: base rates of scenes play no part."""
        points, draws = self._paired("auc", self._pool_at[pool])
        weight = self._pool_weight[pool] / self._pool_weight[pool].sum()
        return Change.of(weight @ points, weight @ draws, levels)

    def ece(self, levels: Levels) -> Change | None:
        """Change of ECE over all rows with its sign reversed, so that higher is better here too."""
        points, draws = self._paired("ece", [0])
        return Change.of(-points[0], -draws[0], levels)

    def _paired(self, metric: str, at: list[int]) -> tuple[Floats, Floats]:
        points = self._points[0][metric][at] - self._points[1][metric][at]
        return points, self._draws[0][metric][at] - self._draws[1][metric][at]
