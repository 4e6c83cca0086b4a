"""The bootstrap weighs users, agrees with resampling them literally, and its intervals cover."""

import numpy as np
import pytest
from scipy.stats import rankdata
from scored_days import make_day, model
from sklearn.metrics import roc_auc_score

from training.evaluate import metrics
from training.evaluate.bootstrap import (
    MAX_BINS,
    METRICS,
    GroupMetrics,
    Scored,
    _atoms,
    _Binned,
    interval,
    point,
    reflected,
    resample,
    user_weights,
)


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


def test_the_sample_itself_gives_plain_metrics_in_every_group() -> None:
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


@pytest.mark.parametrize("rows", [20_000, 200_000])
def test_many_rows_are_binned_without_moving_auc_or_ece(rows: int) -> None:
    day = make_day(rows, 3)
    scored = Scored(day.label, model(day, 1), day.user)
    groups = [np.arange(rows), np.flatnonzero(day.scene == "2"), np.flatnonzero(day.user_level == "few")]
    binned = point(GroupMetrics(scored, groups))
    for n, group in enumerate(groups):
        exact = direct(scored, group)
        assert len(group) > MAX_BINS
        assert binned["auc"][n] == pytest.approx(exact["auc"], abs=5e-5 * np.sqrt(20_000 / rows))
        assert binned["ece"][n] == pytest.approx(exact["ece"], rel=1e-5)


def test_a_million_tied_rows_are_added_up_exactly() -> None:
    label = np.tile([1, 0, 0, 0, 0, 0, 0], 150_000)
    rows = Scored(label, np.full(len(label), 0.1234567), np.arange(len(label)) // 3)
    points = point(GroupMetrics(rows, [np.arange(len(label))]))
    for name, expected in direct(rows, np.arange(len(label))).items():
        assert points[name][0] == pytest.approx(expected, rel=1e-6), name


def test_binning_error_is_far_below_the_spread_of_resamples() -> None:
    rows, resamples = 20_000, 8
    day = make_day(rows, 4)
    scored = Scored(day.label, model(day, 1), day.user)
    weights = user_weights(int(day.user.max()) + 1, resamples, (5,))
    binned = GroupMetrics(scored, [np.arange(rows)])(weights)
    draws = weights[day.user]
    loss = np.average(np.tile(metrics.row_log_loss(day.label, scored.probability), (resamples, 1)).T, 0, draws)
    area = [roc_auc_score(day.label, scored.probability, sample_weight=draws[:, b]) for b in range(resamples)]
    predicted = scored.probability @ draws / (day.label @ draws)
    for name, exact in {"auc": area, "log_loss": loss, "pcoc": predicted}.items():
        assert np.abs(binned[name][0] - exact).max() < 0.01 * np.std(exact), name


def test_groups_in_any_relation_give_what_each_gives_alone() -> None:
    """Groups may overlap, be nested, be equal or have a single row."""
    rows = small(900, 6)
    random = np.random.default_rng(0)
    groups = [
        np.arange(900),
        random.permutation(900)[:500],
        np.arange(300, 800),
        np.arange(300, 310),
        np.arange(310, 800),
        np.array([7]),
        np.arange(300, 800),
    ]
    together, weights = GroupMetrics(rows, groups), user_weights(int(rows.user.max()) + 1, 5, (2,))
    draws = together(weights)
    for n, group in enumerate(groups):
        alone = GroupMetrics(rows, [group])
        assert together.pairs[n] == alone.pairs[0]
        for name, values in alone(weights).items():
            np.testing.assert_allclose(draws[name][n], values[0], rtol=2e-5, err_msg=name)


def test_rows_of_an_atom_share_bins_and_bins_are_unions_of_atoms() -> None:
    random = np.random.default_rng(1)
    members = [np.arange(200), random.permutation(200)[:90], np.arange(50, 60)]
    binned = [_Binned(each, np.sort(np.arange(len(each)) * 4 // len(each)), np.arange(4)) for each in members]
    atom, atoms_of_bin = _atoms(250, binned)
    expected = np.zeros((12, 250))
    for n, group in enumerate(binned):
        expected[4 * n + group.bin, group.rows] = 1
    assert np.array_equal(atoms_of_bin.toarray()[:, atom], expected)
    assert len(np.unique(expected, axis=1).T) == atoms_of_bin.shape[1]


def test_draws_do_not_depend_on_the_number_of_threads() -> None:
    rows = small(2_000)
    models = [GroupMetrics(rows, [np.arange(2_000), np.arange(0, 2_000, 3)])]
    (single,), (three,) = (resample(models, 200, (4,), threads) for threads in (1, 3))
    for name in METRICS:
        assert np.array_equal(single[name], three[name]), name


def test_standard_error_of_auc_is_delongs_with_one_row_per_user() -> None:
    rows = 6_000
    day = make_day(rows, 9)
    scored = Scored(day.label, model(day, 1), np.arange(rows))
    draws = resample([GroupMetrics(scored, [np.arange(rows)])], 1_000, (6,))[0]["auc"][0]
    assert draws.std() == pytest.approx(delong(day.label, scored.probability), rel=0.1)


def delong(label: np.ndarray, probability: np.ndarray) -> float:
    """Standard error of AUC: DeLong et al., "Comparing the Areas under Two or More Correlated ROC Curves", Biometrics 1988.

    By mid-ranks, as in Sun and Xu, "Fast Implementation of DeLong's Algorithm", IEEE Signal Processing Letters 2014.
    """
    clicks, others = probability[label == 1], probability[label == 0]
    ranks = rankdata(np.r_[clicks, others])
    of_click = (ranks[: len(clicks)] - rankdata(clicks)) / len(others)
    of_other = 1 - (ranks[len(clicks) :] - rankdata(others)) / len(clicks)
    return float(np.sqrt(of_click.var(ddof=1) / len(clicks) + of_other.var(ddof=1) / len(others)))


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


def test_repeated_rows_of_a_user_add_no_certainty() -> None:
    """Users are the clusters of the bootstrap."""
    day = make_day(800, 2)
    rows = Scored(day.label, model(day, 1), day.user)
    tripled = Scored(*(np.tile(values, 3) for values in (rows.label, rows.probability, rows.user)))
    width = []
    for sample in (rows, tripled):
        draws = resample([GroupMetrics(sample, [np.arange(len(sample.label))])], 400, (3,))[0]["auc"][0]
        low, high = interval(draws)
        width.append(high - low)
    assert width[1] == pytest.approx(width[0], rel=0.05)


def test_reflected_interval_removes_the_resampling_bias_of_ece() -> None:
    day = make_day(3_000, 5)
    perfect = Scored(day.label, 1 / (1 + np.exp(-day.logit)), day.user)
    groups = GroupMetrics(perfect, [np.arange(3_000)])
    value = point(groups)["ece"][0]
    low, high = reflected(value, interval(resample([groups], 300, (1,))[0]["ece"][0]))
    assert low >= 0
    assert high < 2 * value


def test_an_interval_of_mostly_undefined_resamples_is_none() -> None:
    assert interval(np.array([0.5] * 80 + [np.nan] * 20)) is None
