"""Metrics equal scikit-learn's, or a count of every pair."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss, roc_auc_score

from training.evaluate import metrics

impressions = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 8).map(lambda n: n / 8), st.integers(0, 4)), min_size=1, max_size=60
)


def arrays(rows: list[tuple[int, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    label, probability, user = zip(*rows, strict=True)
    return np.array(label), np.array(probability, float), np.array(user)


def pairwise_auc(label: np.ndarray, probability: np.ndarray) -> float:
    clicks, others = probability[label == 1], probability[label == 0]
    wins = sum((click > other) + 0.5 * (click == other) for click in clicks for other in others)
    return wins / (len(clicks) * len(others)) if len(clicks) and len(others) else float("nan")


@given(impressions)
def test_auc_is_the_share_of_pairs_in_order(rows: list) -> None:
    label, probability, _ = arrays(rows)
    np.testing.assert_allclose(metrics.auc(label, probability), pairwise_auc(label, probability), equal_nan=True)


@settings(deadline=None)
@given(impressions)
def test_gauc_is_the_mean_of_user_aucs_weighted_by_impressions(rows: list) -> None:
    label, probability, user = arrays(rows)
    total = weight = 0.0
    for one in set(user):
        own = user == one
        if 0 < label[own].sum() < own.sum():
            total += own.sum() * roc_auc_score(label[own], probability[own])
            weight += own.sum()
    expected = total / weight if weight else float("nan")
    np.testing.assert_allclose(metrics.gauc(label, probability, user), expected, equal_nan=True)


@given(impressions, st.randoms(use_true_random=False))
def test_no_metric_depends_on_the_order_of_rows(rows: list, random) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)
    for metric in (metrics.auc, metrics.pcoc, metrics.ece):
        before, after = metric(*arrays(rows)[:2]), metric(*arrays(shuffled)[:2])
        np.testing.assert_allclose(before, after, equal_nan=True, atol=1e-12)
    np.testing.assert_allclose(metrics.gauc(*arrays(rows)), metrics.gauc(*arrays(shuffled)), equal_nan=True)


@given(impressions)
def test_row_log_loss_averages_to_scikit_learns(rows: list) -> None:
    label, probability, _ = arrays(rows)
    clipped = np.clip(probability, metrics.EPSILON, 1 - metrics.EPSILON)
    assert metrics.row_log_loss(label, probability).mean() == pytest.approx(log_loss(label, clipped, labels=[0, 1]))


def test_ece_is_the_mean_error_over_bins_of_equal_size() -> None:
    """The error of a bin is the distance of its mean prediction from its click rate."""
    random = np.random.default_rng(0)
    probability = np.sort(random.random(1000))
    label = (random.random(1000) < probability**2).astype(int)
    bins = np.split(np.arange(1000), 10)
    expected = sum(abs(probability[rows].mean() - label[rows].mean()) * len(rows) for rows in bins) / 1000
    assert metrics.ece(label, probability) == pytest.approx(expected)


def test_predictions_that_tie_share_a_calibration_bin() -> None:
    probability = np.repeat([0.1, 0.5], [97, 3])
    assert set(metrics.calibration_bins(probability)[:97]) == {0}


def test_pcoc_is_predicted_clicks_over_clicks() -> None:
    assert metrics.pcoc(np.array([1, 0, 0, 1]), np.array([0.9, 0.3, 0.3, 0.9])) == pytest.approx(1.2)
    assert np.isnan(metrics.pcoc(np.zeros(2), np.full(2, 0.1)))


def test_the_calibration_curve_counts_every_row_once() -> None:
    random = np.random.default_rng(1)
    label, probability = random.integers(0, 2, 137), random.random(137)
    curve = metrics.calibration_curve(label, probability)
    assert sum(bin_.rows for bin_ in curve) == 137
    assert sum(bin_.rows * bin_.ctr for bin_ in curve) == pytest.approx(label.sum())
