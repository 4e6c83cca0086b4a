"""Bootstrap of all metrics of many groups at once, clustered by user.

A user's impressions are not independent, so users are resampled, not rows: each resample gives every user a Poisson(1)
weight (Chamandy et al., "Estimating Uncertainty for Massive Data Streams", Google, 2012). All metrics of a model are
functions of sums that are linear in these weights, so a resample is a product of sparse matrices `[sums, users]` with
weights `[users, resamples]`. Models that are resampled together share the weights: their differences are paired.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from training import metrics
from training.metrics import CALIBRATION_BINS, Floats, Integers, changes, first_of_run

METRICS = ("ctr", "auc", "gauc", "log_loss", "pcoc", "ece")
MAX_BINS = 1024
"""In a group with more rows, scores of neighbouring ranks count as tied in the resamples: it moves AUC by about 1e-5."""

_POISSON = np.searchsorted(np.cumsum(np.exp(-1) / np.array([1, 1, 2, 6, 24, 120, 720, 5040])), np.arange(65536) / 65536)
_POISSON_WEIGHT = _POISSON.astype(np.float32)
"""Poisson(1) by inverse transform of 16 random bits."""


def user_weights(users: int, resamples: int, seed: Sequence[int], width: int) -> Iterator[NDArray[np.float32]]:
    """Weights `[users, up to width] float32` of `resamples` resamples, in chunks."""
    random = np.random.default_rng(list(seed))
    for start in range(0, resamples, width):
        shape = (users, min(width, resamples - start))
        yield _POISSON_WEIGHT[random.integers(0, 65536, shape, dtype=np.uint16)]


@dataclass(frozen=True)
class Scored:
    """One model's predictions of some rows: `label`, `probability` and `user` (codes 0, 1, …), all `[rows]`."""

    label: Integers
    probability: Floats
    user: Integers


class GroupMetrics:
    """Every metric of every group, as a function of user weights; a group is any set of rows, none of them empty.

    `pairs` `[groups]` counts the users with a click and a non-click in the group.
    """

    def __init__(self, rows: Scored, groups: Sequence[Integers]) -> None:
        position = np.empty(len(rows.label), np.int64)
        position[np.argsort(rows.probability, kind="stable")] = np.arange(len(position))
        index = np.concatenate([members[np.argsort(position[members])] for members in groups])
        size = np.array([len(members) for members in groups])
        group = np.repeat(np.arange(len(groups)), size)
        label, probability, user = rows.label[index], rows.probability[index], rows.user[index]
        # From here on the rows are sorted by group and, within it, by score.
        self.groups = len(groups)
        self.users = int(rows.user.max()) + 1
        self._sums = self._linear_sums(group, label, probability, user)
        lowest = first_of_run(changes(group) | changes(probability)) - (np.cumsum(size) - size)[group]
        tied = np.where(size[group] > MAX_BINS, lowest * MAX_BINS // size[group], lowest)
        self._rank(group, tied, label > 0, user)
        of_bin = group * CALIBRATION_BINS + lowest * CALIBRATION_BINS // size[group]
        shape = (self.groups * CALIBRATION_BINS, self.users)
        self._residuals = csr_array(((probability - label).astype(np.float32), (of_bin, user)), shape=shape)

    def __call__(self, weights: NDArray[np.float32]) -> dict[str, Floats]:
        """Each metric `[groups, resamples] float64` under weights `[users, resamples]`; NaN where not defined."""
        rows, clicks, predicted, loss, user_rows, user_area = np.split(self._sums @ weights, 6)
        distance = np.abs(self._residuals @ weights).reshape(self.groups, CALIBRATION_BINS, -1).sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "ctr": clicks / rows,
                "auc": self._auc(weights),
                "gauc": user_area / user_rows,
                "log_loss": loss / rows,
                "pcoc": predicted / np.where(clicks > 0, clicks, np.nan),
                "ece": distance / rows,
            }

    def _linear_sums(self, group: Integers, label: Integers, probability: Floats, user: Integers) -> csr_array:
        """Rows, clicks, predicted clicks, log loss, and of GAUC the weight and the weighted sum: `[6 groups, users]`."""
        pair_group, pair_user, impressions, area = metrics.user_auc(label, probability, user, group)
        self.pairs = np.bincount(pair_group, minlength=self.groups)
        parts = [
            (group, user, np.ones(len(group))),
            (group, user, label),
            (group, user, probability),
            (group, user, metrics.row_log_loss(label, probability)),
            (pair_group, pair_user, impressions),
            (pair_group, pair_user, impressions * area),
        ]
        line = np.concatenate([of_group + n * self.groups for n, (of_group, _, _) in enumerate(parts)])
        column = np.concatenate([of_user for _, of_user, _ in parts])
        values = np.concatenate([value for _, _, value in parts])
        return csr_array((values, (line, column)), shape=(6 * self.groups, self.users))

    def _rank(self, group: Integers, tied: Integers, clicked: NDArray[np.bool_], user: Integers) -> None:
        """Bins of equal `tied` (of a group), ascending, one group after the other, with their clicks and non-clicks."""
        new_group = changes(group)
        of_row = np.cumsum(new_group | changes(tied)) - 1
        self._group_starts = of_row[new_group]
        shape = (int(of_row[-1]) + 1, self.users)
        self._clicks, self._others = (
            csr_array((np.ones(chosen.sum(), np.float32), (of_row[chosen], user[chosen])), shape=shape)
            for chosen in (clicked, ~clicked)
        )

    def _auc(self, weights: NDArray[np.float32]) -> Floats:
        """Weighted Mann-Whitney statistic: of each click, the weight of non-clicks below it and half of those tied."""
        clicks, others = self._clicks @ weights, self._others @ weights
        starts = self._group_starts
        through = np.cumsum(others, axis=0, dtype=np.float64)
        before_group = through[starts] - others[starts]
        all_clicks = np.add.reduceat(clicks, starts, axis=0, dtype=np.float64)
        all_others = np.add.reduceat(others, starts, axis=0, dtype=np.float64)
        through -= 0.5 * others
        through *= clicks
        won = np.add.reduceat(through, starts, axis=0) - all_clicks * before_group
        pairs = all_clicks * all_others
        return np.divide(won, pairs, out=np.full_like(won, np.nan), where=pairs > 0)


def point(model: GroupMetrics) -> dict[str, Floats]:
    """Each metric `[groups]` of the sample itself."""
    return {name: values[:, 0] for name, values in model(np.ones((model.users, 1), np.float32)).items()}


def resample(models: Sequence[GroupMetrics], resamples: int, seed: Sequence[int]) -> list[dict[str, Floats]]:
    """Of each model each metric `[groups, resamples]`, all models under the same weights."""
    users = max(model.users for model in models)
    widest = max(users, *(model._clicks.shape[0] for model in models))
    width = int(np.clip(1_000_000 // widest, 8, 64))
    chunks = [[model(weights) for model in models] for weights in user_weights(users, resamples, seed, width)]
    return [
        {name: np.concatenate([chunk[n][name] for chunk in chunks], axis=1) for name in METRICS}
        for n in range(len(models))
    ]


def interval(values: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of resampled values `[resamples]`; None where fewer than 90 % of them are defined."""
    defined = values[np.isfinite(values)]
    if len(defined) < 0.9 * len(values):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def reflected(sample: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """The reverse percentile interval, not below 0: for ECE, which resampling inflates as chance inflated the sample's."""
    low, high = bounds
    return max(0.0, 2 * sample - high), max(0.0, 2 * sample - low)
