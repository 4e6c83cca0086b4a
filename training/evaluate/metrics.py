"""Metrics of click predictions on one set of impressions: ranking, log loss and calibration.

All take `label` `[rows]` in {0, 1} and `probability` `[rows]` in [0, 1]. Where a metric is not defined (one class only,
no click, no row) the result is NaN; records say "insufficient" instead (`training.evaluate.day_metrics`).
"""

import numpy as np
from numpy.typing import NDArray

from include.metrics_records import CalibrationBin

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CALIBRATION_BINS = 10
EPSILON = 1e-7
"""Probabilities are clipped to [EPSILON, 1 - EPSILON] in the log loss."""


def auc(label: Integers, probability: Floats) -> float:
    """Return the area under the ROC curve: the chance that a click is ranked above a non-click, ties counting half."""
    if label.min(initial=1) == label.max(initial=0):
        return float("nan")
    from sklearn.metrics import roc_auc_score  # here, as importing scikit-learn takes a second

    return float(roc_auc_score(label, probability))


def gauc(label: Integers, probability: Floats, user: Integers) -> float:
    """Return the mean of each user's own AUC weighted by impressions, over users with a click and a non-click.

    It ignores what ranks users against each other, which no list that one user sees depends on
    (Zhu et al., "Optimized Cost per Click in Taobao Display Advertising", KDD 2017).
    """
    _, impressions, of_user = user_auc(label, probability, user)
    return float(np.average(of_user, weights=impressions)) if len(of_user) else float("nan")


def user_auc(label: Integers, probability: Floats, user: Integers) -> tuple[Integers, Floats, Floats]:
    """Return the AUC within each user: user, impressions and AUC, all `[users]`.

    Users of one class only are left out. Uses the rank-sum form of AUC with mid-ranks for ties.
    """
    by_score = np.argsort(probability, kind="stable")
    order = by_score[np.argsort(user[by_score], kind="stable")]
    user = user[order]
    clicked = label[order] > 0
    new_user = changes(user)
    starts = np.flatnonzero(new_user)
    number = np.cumsum(new_user) - 1
    rank = _mid_ranks(new_user | changes(probability[order])) - starts[number]
    impressions = np.diff(np.append(starts, len(user))).astype(np.float64)
    clicks = np.bincount(number, weights=clicked, minlength=len(starts))
    rank_sum = np.bincount(number, weights=rank * clicked, minlength=len(starts))
    both = (clicks > 0) & (clicks < impressions)
    clicks = clicks[both]
    impressions = impressions[both]
    area = (rank_sum[both] - clicks * (clicks + 1) / 2) / (clicks * (impressions - clicks))
    return user[starts][both], impressions, area


def row_log_loss(label: Integers, probability: Floats) -> Floats:
    """Return the negative log likelihood of each label `[rows]`, in nats."""
    clipped = np.clip(probability, EPSILON, 1 - EPSILON)
    return -np.where(label > 0, np.log(clipped), np.log1p(-clipped))


def at_ctr(label: Integers, probability: Floats) -> Floats:
    """Return the probabilities `[n]` with one number added to all their logits, so that they sum to the clicks.

    A base rate that differs between the training days and this one then has no effect. Raises `ValueError` without a
    click or without a non-click.
    """
    clicks = int(label.sum())
    if not 0 < clicks < len(label):
        raise ValueError(f"{clicks} clicks of {len(label)} rows: no offset makes the predictions sum to them")
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    score = logit(np.clip(probability, EPSILON, 1 - EPSILON))
    offset = brentq(lambda shift: expit(score + shift).sum() - clicks, -40, 40)
    return expit(score + offset)


def mean_of_rows(values: Floats, user: Integers) -> tuple[float, float]:
    """Return the mean of `[n]` values and its standard error, where the rows of a user are not independent of each other."""
    mean = float(values.mean())
    of_user = np.bincount(user, weights=values - mean)
    return mean, float(np.sqrt((of_user**2).sum()) / len(values))


def pcoc(label: Integers, probability: Floats) -> float:
    """Return predicted clicks over clicks: 1 is calibrated on the whole, above 1 is too optimistic."""
    return float(probability.sum() / label.sum()) if label.any() else float("nan")


def ece(label: Integers, probability: Floats, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error: mean distance of prediction and CTR over bins of about equally many rows.

    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015. Chance alone makes it
    positive in a small sample.
    """
    if not len(label):
        return float("nan")
    of_row = calibration_bins(probability, bins=bins)
    return float(np.abs(np.bincount(of_row, weights=probability - label)).sum() / len(label))


def calibration_bins(probability: Floats, bins: int = CALIBRATION_BINS) -> Integers:
    """Return the number in [0, bins) of each row's bin `[rows]`, by rank of its prediction; ties share the lowest."""
    order = np.argsort(probability, kind="stable")
    result = np.empty(len(order), np.int64)
    result[order] = first_of_run(changes(probability[order])) * bins // len(order)
    return result


def calibration_curve(label: Integers, probability: Floats, bins: int = CALIBRATION_BINS) -> list[CalibrationBin]:
    """Return the bins of `ece` that have rows, ascending."""
    of_row = calibration_bins(probability, bins=bins)
    rows = np.bincount(of_row, minlength=bins)
    predicted = np.bincount(of_row, weights=probability, minlength=bins)
    clicks = np.bincount(of_row, weights=label, minlength=bins)
    return [
        CalibrationBin(predicted=float(predicted[b] / rows[b]), ctr=float(clicks[b] / rows[b]), rows=int(rows[b]))
        for b in range(bins)
        if rows[b]
    ]


def changes(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return `[rows]` True at 0 and where a value differs from the one before."""
    return np.r_[True, values[1:] != values[:-1]][: len(values)]


def first_of_run(starts_run: NDArray[np.bool_]) -> Integers:
    """Return the position at which each row's run starts `[rows]`."""
    return np.maximum.accumulate(np.where(starts_run, np.arange(len(starts_run)), 0))


def _mid_ranks(starts_run: NDArray[np.bool_]) -> Floats:
    """Return `[rows]` 1-based ranks in which the rows of a run share their mean rank."""
    starts = np.flatnonzero(starts_run)
    ends = np.append(starts[1:], len(starts_run))
    return ((starts + ends + 1) / 2)[np.cumsum(starts_run) - 1]
