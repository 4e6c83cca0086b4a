"""Bootstrap of all metrics of many groups at once, clustered by user.

A user's impressions are not independent, so users are resampled, not rows: each resample gives every user a Poisson(1)
weight (Chamandy et al., "Estimating Uncertainty for Massive Data Streams", Google, 2012). All metrics of a model are
functions of sums that are linear in these weights, so a resample is a product of sparse matrices `[sums, users]` with
weights `[users, resamples]`. Models that are resampled together share the weights: their differences are paired.

Groups overlap, so sums are made in two steps, each row counting once in the first: of the *atoms* that the groups' rank
bins cut the rows into, and from them of each bin, of which it is a union.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from training.evaluate import metrics
from training.evaluate.metric_names import METRICS
from training.evaluate.metrics import CALIBRATION_BINS, Floats, Integers, changes, first_of_run

MAX_BINS = 100 * CALIBRATION_BINS
"""In a group with more rows, scores of neighbouring ranks count as tied in the resamples: it moves AUC by about 1e-5.

A multiple, so that a calibration bin is a union of rank bins.
"""
_LARGE_ATOM = 64
"""With more rows, an atom's sums are kept as deviations from its means; where scores are hardly tied, atoms are smaller."""
_CHUNK = 1 << 25
"""Numbers that a thread holds at a time, about."""

_POISSON = np.searchsorted(np.cumsum(np.exp(-1) / np.array([1, 1, 2, 6, 24, 120, 720, 5040])), np.arange(65536) / 65536)
_POISSON_WEIGHT = _POISSON.astype(np.float32)
"""Poisson(1) by inverse transform of 16 random bits."""


def user_weights(users: int, resamples: int, seed: Sequence[int]) -> NDArray[np.float32]:
    """Return weights `[users, resamples] float32` of some resamples."""
    random = np.random.default_rng(list(seed))
    return _POISSON_WEIGHT[random.integers(0, 65536, (users, resamples), dtype=np.uint16)]


@dataclass(frozen=True)
class Scored:
    """One model's predictions of some rows: `label`, `probability` and `user` (codes 0, 1, …), all `[rows]`."""

    label: Integers
    probability: Floats
    user: Integers


class GroupMetrics:
    """Every metric of every group, as a function of user weights; a group is any set of rows, none of them empty.

    `pairs` `[groups]` counts the users with a click and a non-click in the group; `size` is how many numbers of a resample
    are in memory at once.
    """

    def __init__(self, rows: Scored, groups: Sequence[Integers]) -> None:
        order = np.argsort(rows.probability, kind="stable")
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        binned = [_Binned.of(rows.probability, order[np.sort(position[members])]) for members in groups]
        bins = np.array([len(group.calibration) for group in binned])
        self._group_starts = np.cumsum(bins) - bins
        new_group = np.zeros(bins.sum(), bool)
        new_group[self._group_starts] = True
        self._calibration_starts = np.flatnonzero(
            new_group | changes(np.concatenate([group.calibration for group in binned]))
        )
        self._group_calibration = np.flatnonzero(new_group[self._calibration_starts])
        self.groups = len(groups)
        self.users = int(rows.user.max()) + 1
        atom, self._atoms_of_bin = _atoms(len(rows.label), binned)
        self._user_areas = self._sums_of_users(rows, binned)
        del binned, order, position
        self._atom_sums = self._sums_of_atoms(rows, atom)
        self.size = self.users + self._atom_sums.shape[0] + 6 * self._atoms_of_bin.shape[0]

    def __call__(self, weights: NDArray[np.float32]) -> dict[str, Floats]:
        """Return each metric `[groups, resamples] float64` under weights `[users, resamples]`; NaN where not defined."""
        resamples = weights.shape[1]
        of_atoms = (self._atom_sums @ weights).reshape(-1, 4, resamples)
        large = of_atoms[self._large]
        of_atoms[self._large, 2:] += (self._means * large[:, :2, None]).sum(axis=1)
        of_bins = self._atoms_of_bin @ of_atoms.reshape(len(of_atoms), -1)
        clicks, others, residual, loss = np.split(of_bins, 4, axis=1)
        distance = np.abs(np.add.reduceat(residual, self._calibration_starts, axis=0, dtype=np.float64))
        all_clicks, all_others, all_residual, all_loss = (
            np.add.reduceat(values, self._group_starts, axis=0, dtype=np.float64)
            for values in (clicks, others, residual, loss)
        )
        rows = all_clicks + all_others
        user_rows, user_area = (self._user_areas @ weights[self._with_both]).reshape(2, self.groups, resamples)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "ctr": all_clicks / rows,
                "auc": self._won(clicks, others, all_clicks) / (all_clicks * all_others),
                "gauc": user_area / user_rows,
                "log_loss": all_loss / rows,
                "pcoc": (all_residual + all_clicks) / np.where(all_clicks > 0, all_clicks, np.nan),
                "ece": np.add.reduceat(distance, self._group_calibration, axis=0) / rows,
            }

    def _sums_of_atoms(self, rows: Scored, atom: Integers) -> csr_array:
        """Return clicks, non-clicks, residual (prediction - label) and log loss of one atom after the other: `[4 atoms,
        users]`.

        Of a large atom the last two are deviations from `_means` `[large, 2, 2, 1]`, those over its clicks and over its
        non-clicks: float32 would drift in the sum of many equal numbers, but counts, which the means go with, are whole.
        """
        atoms = self._atoms_of_bin.shape[1]
        of_class = 2 * atom + (rows.label == 0)
        values = np.stack([rows.probability - rows.label, metrics.row_log_loss(rows.label, rows.probability)])
        size = np.bincount(of_class, minlength=2 * atoms)
        totals = np.stack(
            [np.bincount(of_class, weights=row_values, minlength=2 * atoms) for row_values in values], axis=1
        )
        means = (totals / np.maximum(size, 1)[:, None]).astype(np.float32).reshape(atoms, 2, 2, 1)
        is_large = size.reshape(-1, 2).sum(axis=1) > _LARGE_ATOM
        means[~is_large] = 0
        self._large = np.flatnonzero(is_large)
        self._means = means[is_large]
        values -= means.reshape(-1, 2)[of_class].T
        line = np.concatenate([4 * atom + kind for kind in (rows.label == 0, 2, 3)])
        data = np.r_[np.ones(len(atom)), values.ravel()].astype(np.float32)
        return csr_array((data, (line, np.tile(rows.user, 3))), shape=(4 * atoms, self.users))

    def _sums_of_users(self, rows: Scored, binned: Sequence["_Binned"]) -> csr_array:
        """Return the weight and the weighted sum of GAUC, of each group: `[2 groups, users with both classes]`."""
        share = np.bincount(rows.user, weights=rows.label) / np.maximum(np.bincount(rows.user), 1)
        # Who has one class only among all rows has it in every group.
        both = ((share > 0) & (share < 1))[rows.user]
        parts = []
        for group in binned:
            chosen = group.rows[both[group.rows]]
            parts.append(metrics.user_auc(rows.label[chosen], rows.probability[chosen], rows.user[chosen]))
        user, impressions, area = (np.concatenate(part) for part in zip(*parts, strict=True))
        self.pairs = np.array([len(users) for users, _, _ in parts])
        self._with_both, column = np.unique(user, return_inverse=True)
        of_group = np.repeat(np.arange(self.groups), self.pairs)
        line = np.r_[of_group, of_group + self.groups]
        values = np.r_[impressions, impressions * area]
        shape = (2 * self.groups, len(self._with_both))
        return csr_array((values, (line, np.r_[column, column])), shape=shape)

    def _won(self, clicks: NDArray[np.float32], others: NDArray[np.float32], all_clicks: Floats) -> Floats:
        """Return the Mann-Whitney statistic of each group: of each click, the weight of non-clicks below it and half of
        those tied."""
        starts = self._group_starts
        below = np.cumsum(others, axis=0, dtype=np.float64)
        before_group = below[starts] - others[starts]
        below -= 0.5 * others
        below *= clicks
        return np.add.reduceat(below, starts, axis=0) - before_group * all_clicks


@dataclass(frozen=True)
class _Binned:
    """A group: its `rows [size] int32` by ascending score, their rank bins from 0 `bin [size] int32`, and the calibration bin
    of each rank bin."""

    rows: NDArray[np.int32]
    bin: NDArray[np.int32]
    calibration: Integers

    @classmethod
    def of(cls, probability: Floats, rows: Integers) -> "_Binned":
        """Return the group of these rows, which are sorted by `probability [all rows]`."""
        size = len(rows)
        lowest = first_of_run(changes(probability[rows]))
        new_bin = changes(lowest * MAX_BINS // size if size > MAX_BINS else lowest)
        bins = np.cumsum(new_bin, dtype=np.int32) - np.int32(1)
        return cls(rows.astype(np.int32), bins, lowest[new_bin] * CALIBRATION_BINS // size)


def _atoms(rows: int, binned: Sequence[_Binned]) -> tuple[Integers, csr_array]:
    """Return the atom of each row, and the atoms of each bin of all groups, `[bins, atoms]` of 0 and 1.

    Rows of one atom are in the same bins.
    """
    atom = np.zeros(rows, np.int64)
    for group in binned:
        part = np.unique(atom[group.rows] * len(group.calibration) + group.bin, return_inverse=True)[1]
        atom[group.rows] = atom.max() + 1 + part
    _, example, atom = np.unique(atom, return_index=True, return_inverse=True)
    lines = []
    columns = []
    bins = 0
    for group in binned:
        of_row = atom[group.rows]
        chosen = example[of_row] == group.rows
        lines.append(bins + group.bin[chosen])
        columns.append(of_row[chosen])
        bins += len(group.calibration)
    cells = (np.concatenate(lines), np.concatenate(columns))
    return atom, csr_array((np.ones(len(cells[0]), np.float32), cells), shape=(bins, len(example)))


def point(model: GroupMetrics) -> dict[str, Floats]:
    """Return each metric `[groups]` of the sample itself."""
    return {name: values[:, 0] for name, values in model(np.ones((model.users, 1), np.float32)).items()}


def resample(
    models: Sequence[GroupMetrics], resamples: int, seed: Sequence[int], threads: int | None = None
) -> list[dict[str, Floats]]:
    """Return each metric `[groups, resamples]` of each model, all models under the same weights.

    The result does not depend on `threads` (default: the cores): a chunk has its own random numbers.
    """
    users = max(model.users for model in models)
    width = int(np.clip(_CHUNK // max(model.size for model in models), 8, 64))

    def chunk(start: int) -> list[dict[str, Floats]]:
        weights = user_weights(users, min(width, resamples - start), (*seed, start))
        return [model(weights[: model.users]) for model in models]

    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        chunks = list(pool.map(chunk, range(0, resamples, width)))
    return [
        {name: np.concatenate([of_models[n][name] for of_models in chunks], axis=1) for name in METRICS}
        for n in range(len(models))
    ]


def interval(values: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Return the percentile interval of resampled values `[resamples]`; None where fewer than 90 % of them are defined."""
    defined = values[np.isfinite(values)]
    if len(defined) < 0.9 * len(values):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def reflected(sample: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the reverse percentile interval, not below 0: for ECE, which resampling inflates as chance inflated the sample's."""
    low, high = bounds
    return max(0.0, 2 * sample - high), max(0.0, 2 * sample - low)
