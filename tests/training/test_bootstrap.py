"""The bootstrap weighs users, agrees with resampling them literally, and its intervals cover."""

import numpy as np
import pytest
from scored_days import make_day, model

from training import metrics
from training.bootstrap import METRICS, GroupMetrics, Scored, interval, point, reflected, resample, user_weights


def small(rows: int = 600, seed: int = 0) -> Scored:
    day = make_day(rows, seed)
    return Scored(day.label, np.round(model(day, 1), 2), day.user)


def direct(rows: Scored, chosen: np.ndarray) -> dict[str, float]:
    label, probability, user = rows.label[chosen], rows.probability[chosen], rows.user[chosen]
    return {
        "ctr": label.mean(),
        "auc": metrics.auc(label, probability),
        "gauc": metrics.gauc(label, probability, user),
        "log_loss": metrics.row_log_loss(label, probability).mean(),
        "pcoc": metrics.pcoc(label, probability),
        "ece": metrics.ece(label, probability),
    }


def test_the_sample_itself_gives_the_plain_metrics_in_every_group() -> None:
    rows = small()
    groups = [np.arange(600), np.arange(0, 600, 3), np.arange(50, 250)]
    points = point(GroupMetrics(rows, groups))
    for n, group in enumerate(groups):
        for name, expected in direct(rows, group).items():
            assert points[name][n] == pytest.approx(expected, rel=1e-5), name


def test_a_resample_is_what_repeating_each_users_rows_gives() -> None:
    rows = small()
    weights = user_weights(int(rows.user.max()) + 1, 3, (7,))
    resampled = GroupMetrics(rows, [np.arange(600)])(weights)
    for b in range(3):
        times = weights[rows.user, b].astype(int)
        repeated = np.repeat(np.arange(600), times)
        # A user drawn twice counts as two users with the same rows, so GAUC is that of the repeated rows as well.
        expected = direct(rows, repeated)
        for name in ("ctr", "auc", "gauc", "log_loss", "pcoc"):
            assert resampled[name][0, b] == pytest.approx(expected[name], rel=1e-5), name


def test_many_rows_are_binned_without_moving_auc() -> None:
    day = make_day(20_000, 3)
    rows = Scored(day.label, model(day, 1), day.user)
    binned = point(GroupMetrics(rows, [np.arange(20_000)]))["auc"][0]
    assert binned == pytest.approx(metrics.auc(rows.label, rows.probability), abs=5e-5)


def test_weights_are_poisson_and_depend_on_the_seed_alone() -> None:
    weights = user_weights(2_000, 100, (1,))
    assert weights.shape == (2_000, 100)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    assert np.array_equal(weights, user_weights(2_000, 100, (1,)))
    assert not np.array_equal(weights, user_weights(2_000, 100, (2,)))


def test_models_that_are_resampled_together_are_paired() -> None:
    day = make_day(2_000, 1)
    rows = [Scored(day.label, model(day, 1), day.user) for _ in range(2)]
    one, other = resample([GroupMetrics(r, [np.arange(2_000)]) for r in rows], 100, (1,))
    for name in METRICS:
        assert np.array_equal(one[name], other[name]), name


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    truth_day = make_day(400_000, 99, users=60_000)
    truth = metrics.auc(truth_day.label, 1 / (1 + np.exp(-truth_day.logit)))
    covered = 0
    for seed in range(100):
        day = make_day(1_500, seed)
        rows = Scored(day.label, 1 / (1 + np.exp(-day.logit)), day.user)
        low, high = interval(resample([GroupMetrics(rows, [np.arange(1_500)])], 200, (seed,))[0]["auc"][0])
        covered += low <= truth <= high
    assert 88 <= covered <= 100


def test_users_are_the_clusters_so_that_repeated_rows_add_no_certainty() -> None:
    day = make_day(800, 2)
    rows = Scored(day.label, model(day, 1), day.user)
    tripled = Scored(*(np.tile(values, 3) for values in (rows.label, rows.probability, rows.user)))
    width = []
    for sample in (rows, tripled):
        draws = resample([GroupMetrics(sample, [np.arange(len(sample.label))])], 400, (3,))[0]["auc"][0]
        low, high = interval(draws)
        width.append(high - low)
    assert width[1] == pytest.approx(width[0], rel=0.05)


def test_the_reflected_interval_takes_back_what_resampling_adds_to_ece() -> None:
    day = make_day(3_000, 5)
    perfect = Scored(day.label, 1 / (1 + np.exp(-day.logit)), day.user)
    groups = GroupMetrics(perfect, [np.arange(3_000)])
    value = point(groups)["ece"][0]
    low, high = reflected(value, interval(resample([groups], 300, (1,))[0]["ece"][0]))
    assert low >= 0
    assert high < 2 * value


def test_an_interval_of_mostly_undefined_resamples_is_none() -> None:
    assert interval(np.array([0.5] * 80 + [np.nan] * 20)) is None
