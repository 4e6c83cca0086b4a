"""Extreme values in a few rows cost no accuracy, and versions saved before there were bounds predict as they did."""

from pathlib import Path

import fabricate
import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from include.lake.lake import Lake
from include.settings import Settings
from training.data.dense import NAMES, transformed
from training.learn import train, warm_start
from training.learn.artifact import Predictor, load, save
from training.tables import read_day

pytestmark = pytest.mark.long

OLD = Path(__file__).parent / "version_without_bounds"
"""A small version and its predictions, saved by the code before bounds; its rows have extreme values too."""
FEATURE = "deep_features_0"
LARGEST = float(np.finfo(np.float32).max)
DAYS = 4
ROWS = 1500
NOISE = 0.02
"""Of the AUC; without bounds one extreme row a day cost 0.21."""


def publish(lake: Lake, spoilt: dict[int, list[float]]) -> None:
    """Publishes days on which a deep feature tells clicks; `spoilt` has the values that random rows of a day hold instead."""
    log = fabricate.impressions(DAYS + 1, ROWS)
    rng = np.random.default_rng(7)
    signal = rng.normal(0, 1, len(log))
    log["label"] = (rng.random(len(log)) < 1 / (1 + np.exp(-log.score - 2 * signal))).astype(np.int8)
    for number in range(DAYS + 1):
        values = signal[log.number == number]
        extremes = spoilt.get(number, [])
        values[np.random.default_rng(number).choice(ROWS, len(extremes), replace=False)] = extremes
        fabricate.publish(lake, log, number, **{FEATURE: values})


def auc(lake: Lake, home: Path, split: int = DAYS) -> float:
    """The AUC of the last day, of a model of the days before it that starts from scratch before `split` and continues after."""
    settings = Settings(home=home, model="ple", batch_size=128)
    days = [fabricate.day(number) for number in range(DAYS)]
    model = train.fit(lake, days[:split], settings, None).predictor
    if split < DAYS:
        model = train.fit(lake, days[split:], settings, model).predictor
    rows = read_day(lake, "training", fabricate.day(DAYS), "a test")
    return float(roc_auc_score(rows["label"], model.predict(rows, lake).probability))


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> dict[int, float]:
    """The AUC without extreme values, from scratch and of a continued model, by `split`."""
    home = tmp_path_factory.mktemp("clean")
    lake = Lake(f"file://{home}/lake")
    publish(lake, {})
    return {split: auc(lake, home, split) for split in (DAYS, 2)}


@pytest.mark.parametrize(
    "extremes", [[LARGEST], [-9999.0] * 10, [LARGEST, -LARGEST] * 5, [1e30]], ids=["one", "sentinel", "ten", "1e30"]
)
@pytest.mark.parametrize(
    ("spoilt", "split"), [(range(DAYS), DAYS), ((2, 3), 2), ((DAYS,), DAYS)], ids=["first", "continued", "evaluated"]
)
def test_extreme_rows_do_not_cost_accuracy(clean, tmp_path, extremes, spoilt, split):
    lake = Lake(f"file://{tmp_path}/lake")
    publish(lake, dict.fromkeys(spoilt, extremes))
    assert clean[split] - auc(lake, tmp_path, split) < NOISE


def test_a_version_without_bounds_predicts_as_before(made):
    """The inputs to the last bit; the network's products differ in it between processors."""
    version = load(OLD)
    rows = pq.read_table(OLD / "rows.parquet")
    expected = np.load(OLD / "expected.npz")
    assert not version.state.standardiser.has_bounds
    assert np.array_equal(version.state.standardiser.apply(transformed(rows)), expected["dense"])
    assert np.allclose(version.predict(rows, made.lake).probability, expected["probability"], rtol=0, atol=1e-7)


def continued(made) -> Predictor:
    """The old version after one more day."""
    settings = made.settings.model_copy(update={"model": "ple"})
    return train.fit(made.lake, [fabricate.day(2)], settings, load(OLD)).predictor


def test_a_continued_version_gets_bounds_and_keeps_its_inputs(made, tmp_path):
    predictor = continued(made)
    standardiser = predictor.state.standardiser
    rows = pq.read_table(OLD / "rows.parquet")
    assert standardiser.has_bounds
    assert standardiser.width == len(NAMES)
    assert np.array_equal(standardiser.apply(transformed(rows)), np.load(OLD / "expected.npz")["dense"])
    save(tmp_path / "continued", predictor, {})
    again = load(tmp_path / "continued").state.standardiser
    assert all(np.array_equal(getattr(again, name), values) for name, values in vars(standardiser).items())


def test_a_base_that_extreme_values_flattened_is_found(made):
    standardiser = load(OLD).state.standardiser
    days = [fabricate.day(2)]
    assert not warm_start.flattened_inputs(made.lake, standardiser, days, 1000)
    standardiser.scale[NAMES.index(FEATURE)] = 1e-37
    assert warm_start.flattened_inputs(made.lake, standardiser, days, 1000) == [FEATURE]
    assert not warm_start.flattened_inputs(made.lake, standardiser.with_bounds(), days, 1000)
