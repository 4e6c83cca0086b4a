"""Statistics of inputs: what a few rows hold, however extreme, does not change what the others read."""

import numpy as np
import pytest
from fabricate import arrow, training_frame

from include.schemas import DEEP_FEATURES
from training.data.dense import DEEP, NAMES, transformed
from training.data.standardiser import CLIP, FEWEST_ROWS, Standardiser

ROWS = 6_000
EXTREMES = [3.4028234663852886e38, -3.4e38, 1.7e308, 1e30, -9999.0]
RNG = np.random.default_rng(5)
FEATURES = {
    "normal": RNG.normal(3, 2, ROWS),
    "far from zero": RNG.normal(1.7e9, 1000, ROWS),
    "heavy tail": RNG.pareto(1.0, ROWS),
    "log of counts": np.log1p(RNG.negative_binomial(1, 0.1, ROWS)),
    "even": RNG.random(ROWS) < 0.5,
    "rare": RNG.random(ROWS) < 0.02,
    "mostly zero": np.where(RNG.random(ROWS) < 0.9, 0, RNG.exponential(1, ROWS)),
    "mostly missing": np.where(RNG.random(ROWS) < 0.9, np.nan, RNG.normal(0, 1, ROWS)),
}


def column(values: np.ndarray) -> np.ndarray:
    """The values as the only feature that varies: the rest of a matrix is missing."""
    matrix = np.full((len(values), len(DEEP_FEATURES)), np.nan)
    matrix[:, 0] = values
    return matrix


def read(values: np.ndarray, fitted_on: np.ndarray) -> np.ndarray:
    """The values as a network reads them that was fitted on others."""
    return Standardiser.fit(column(fitted_on)).apply(column(values))[:, 0]


@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("rows", [1, 3, 10])
@pytest.mark.parametrize("name", FEATURES)
def test_extreme_rows_leave_the_other_rows_as_they_are(name: str, rows: int, extreme: float) -> None:
    """Up to a factor and a shift, which the first layer absorbs."""
    clean = FEATURES[name].astype(float)
    spoilt = clean.copy()
    spoilt[np.flatnonzero(np.isfinite(clean))[:rows]] = extreme
    before, after = read(clean, clean)[rows:], read(clean, spoilt)[rows:]
    factor = after.std() / before.std()
    assert 0.67 < factor < 1.5
    assert abs(np.nanmean(after) - np.nanmean(before)) < 0.34
    assert np.corrcoef(before, after)[0, 1] > 0.97


@pytest.mark.parametrize("extreme", EXTREMES)
def test_an_extreme_row_is_read_at_the_bound(extreme: float) -> None:
    values = FEATURES["normal"]
    assert read(np.array([extreme, np.nan, 3.0]), values)[0] == np.copysign(CLIP, extreme)
    assert read(np.array([extreme, np.nan, 3.0]), values)[1] == 0


def test_values_without_extremes_are_not_bounded() -> None:
    for name in ("normal", "far from zero", "even", "rare"):
        values = FEATURES[name].astype(float)
        standardiser = Standardiser.fit(column(values))
        assert standardiser.low[0] < values.min()
        assert standardiser.high[0] > values.max()
        assert np.isclose(standardiser.mean[0], values.mean())
        assert np.isclose(1 / standardiser.scale[0], values.std())


def test_what_does_not_vary_is_not_used() -> None:
    """A constant, nothing, too few rows, and a constant but for one row; one more row than too few is used."""
    few = np.r_[np.zeros(ROWS - FEWEST_ROWS), np.ones(FEWEST_ROWS)]
    matrix = np.full((ROWS, len(DEEP_FEATURES)), np.nan)
    matrix[:, 0] = 7.0
    matrix[:5, 1] = np.arange(5)
    matrix[:, 2] = np.r_[np.zeros(ROWS - 1), 3.4e38]
    matrix[:, 3] = np.where(np.arange(ROWS) == ROWS - 1, 0, few)
    matrix[:, 4] = few
    standardiser = Standardiser.fit(matrix)
    assert np.flatnonzero(standardiser.used).tolist() == [4]
    assert (standardiser.width, standardiser.deep) == (1, slice(0, 1))
    assert standardiser.apply(matrix).shape == (ROWS, 1)
    assert all(np.isfinite(statistic).all() for statistic in vars(standardiser).values())


def test_no_rows_at_all_use_nothing() -> None:
    standardiser = Standardiser.fit(np.zeros((0, len(NAMES))))
    assert standardiser.apply(np.zeros((4, len(NAMES)))).shape == (4, 0)


def test_standardised_features_have_mean_zero_and_variance_one(made) -> None:
    raw = transformed(arrow(training_frame(made.log, 2)))
    standardiser = Standardiser.fit(raw)
    standard = standardiser.apply(raw)
    assert standardiser.width > 15
    assert np.abs(standard.mean(axis=0)).max() < 0.05
    assert np.abs(standard.std(axis=0) - 1).max() < 0.1
    assert np.isnan(raw[:, DEEP][:, -1]).all()
    assert standardiser.deep == slice(standardiser.width - 26, standardiser.width)


def test_bounds_of_an_unbounded_one_change_no_value() -> None:
    values = np.stack([RNG.normal(1.7e9, 1000, 500), np.full(500, 3.0), RNG.pareto(0.5, 500), RNG.normal(0, 1, 500)], 1)
    values[:4] = [[np.nan] * 4, [3.4e38] * 4, [-1e300] * 4, [-9999] * 4]
    plain = Standardiser.unbounded(np.array([1.7e9, 3, 1, 0], np.float32), np.array([1e-3, 0, 0.1, 1], np.float32))
    bounded = plain.with_bounds()
    assert not plain.has_bounds
    assert bounded.has_bounds
    assert bounded.with_bounds() is bounded
    assert np.array_equal(bounded.apply(values), plain.apply(values))


def test_flattened_inputs_are_found() -> None:
    """A base whose deviation is that of one extreme value."""
    now = Standardiser.fit(column(FEATURES["normal"]))
    scale = np.zeros(len(DEEP_FEATURES), np.float32)
    for base, expected in ((1e-37, [0]), (0.3, []), (0.0, [])):
        scale[0] = base
        plain = Standardiser.unbounded(np.zeros_like(scale), scale)
        assert np.flatnonzero(plain.flattened(now)).tolist() == expected
