"""PSI is what a hand computes, is 0 where nothing moved, and sees a shift, a new name and missing values."""

from math import log

import numpy as np
import pyarrow as pa
import pytest

from include.metrics_records import ColumnDrift
from include.settings import Settings
from training.monitor.drift import MIN_ROWS, compare, psi

SETTINGS = Settings()
ROWS = 4_000


def column(values: object, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, kind, from_pandas=True)])


def drift_of(then: object, now: object) -> ColumnDrift:
    return compare("feature", column(then), column(now), SETTINGS)


@pytest.fixture
def normal() -> np.ndarray:
    return np.random.default_rng(3).normal(size=ROWS)


def test_psi_is_what_a_hand_computes() -> None:
    by_hand = (0.3 - 0.2) * log(0.3 / 0.2) + (0.3 - 0.5) * log(0.3 / 0.5) + (0.4 - 0.3) * log(0.4 / 0.3)
    assert psi(np.array([20, 50, 30]), np.array([300, 300, 400])) == pytest.approx(by_hand)


def test_a_column_of_names_is_compared_name_by_name() -> None:
    drift = drift_of(["a"] * 500 + ["b"] * 500, ["a"] * 800 + ["b"] * 200)
    assert drift.psi == pytest.approx(0.3 * log(0.8 / 0.5) - 0.3 * log(0.2 / 0.5), abs=1e-6)
    assert drift.band == "shifted"


def test_the_same_values_have_no_drift_in_any_order_or_number(normal: np.ndarray) -> None:
    shuffled = np.random.default_rng(4).permutation(normal)
    assert drift_of(normal, shuffled).psi == 0
    assert drift_of(np.tile(normal, 3), normal).psi == pytest.approx(0, abs=1e-6)


def test_the_order_of_rows_does_not_show(normal: np.ndarray) -> None:
    random, now = np.random.default_rng(5), normal * 1.3
    one, other = drift_of(normal, now), drift_of(random.permutation(normal), random.permutation(now))
    without_means = {"mean_then": 0.0, "mean_now": 0.0}
    assert one.model_copy(update=without_means) == other.model_copy(update=without_means)


def test_same_distribution_is_stable_and_a_planted_shift_is_not(normal: np.ndarray) -> None:
    other = np.random.default_rng(6).normal(size=ROWS)
    assert drift_of(normal, other).band == "stable"
    assert drift_of(normal, other + 0.4).band == "moved"
    assert drift_of(normal, other + 1.0).band == "shifted"


def test_a_constant_stays_stable_until_it_changes() -> None:
    assert drift_of([7] * ROWS, [7] * ROWS).psi == 0
    assert drift_of([7] * ROWS, [8] * ROWS).band == "shifted"


def test_the_most_frequent_value_has_a_bin_of_its_own(normal: np.ndarray) -> None:
    counts = np.where(np.arange(ROWS) % 2, 0, np.abs(normal))
    drift = drift_of(counts, np.where(np.arange(ROWS) % 10, 0, np.abs(normal)))
    assert drift.psi >= 0.4 * log(0.9 / 0.5)


def test_missing_values_are_told_and_count_as_drift(normal: np.ndarray) -> None:
    drift = drift_of(normal, np.where(np.arange(ROWS) < ROWS // 2, np.nan, normal))
    assert (drift.null_then, drift.null_now, drift.band) == (0, 0.5, "shifted")
    assert drift_of([np.nan] * ROWS, [np.nan] * ROWS).psi == 0
    assert drift_of([None] * ROWS, normal).band == "shifted"
    assert drift_of(["a"] * ROWS, ["a"] * (ROWS - 1000) + [None] * 1000).null_now == 0.25


def test_a_value_without_end_breaks_no_record(normal: np.ndarray) -> None:
    drift = drift_of(normal, np.where(np.arange(ROWS) < ROWS // 2, np.inf, normal))
    assert drift.band == "shifted"
    assert np.isfinite(drift.mean_now)


def test_too_few_rows_are_not_judged(normal: np.ndarray) -> None:
    drift = drift_of(normal, normal[: MIN_ROWS - 1])
    assert (drift.psi, drift.band) == (None, "insufficient")
    nothing = compare("feature", column([], pa.null()), column([], pa.null()), SETTINGS)
    assert (nothing.band, nothing.null_now, nothing.mean_now) == ("insufficient", None, None)


def test_the_bands_are_settings(normal: np.ndarray) -> None:
    lax = Settings(psi_moved=5, psi_shifted=9)
    assert compare("feature", column(normal), column(normal + 1), lax).band == "stable"
