import numpy as np
import pyarrow as pa
from fabricate import arrow, training_frame

from training.data.dense import DEEP, INPUTS, NAMES, Moments, cold_values, columns_of, logit, transformed


def values(made) -> np.ndarray:
    return transformed(arrow(training_frame(made.log, 2)))


def test_standardised_features_have_mean_zero_and_variance_one(made):
    raw = values(made)
    moments = Moments()
    moments.add(raw[:100])
    moments.add(raw[100:])
    standard = moments.standardiser().apply(raw)
    varies = standard.std(axis=0) > 0.1
    assert varies.sum() > 15
    assert np.abs(standard[:, varies].mean(axis=0)).max() < 0.05
    assert np.abs(standard[:, varies].std(axis=0) - 1).max() < 0.1


def test_a_missing_deep_feature_reads_as_the_training_mean(made):
    raw = values(made)
    moments = Moments()
    moments.add(raw)
    assert np.isnan(raw[:, DEEP][:, -1]).all()
    assert (moments.standardiser().apply(raw)[:, DEEP][:, -1] == 0).all()


def test_a_cold_items_features_are_the_declared_defaults(made):
    """What the simulation writes into a row equals what the training table holds for an item never seen."""
    table = arrow(training_frame(made.log, 2))
    raw = transformed(table)
    moments = Moments()
    moments.add(raw)
    standardiser = moments.standardiser()
    cold = cold_values(("item",), standardiser)
    rows = np.flatnonzero(np.array(table["item_level"].to_pylist()) == "zero")
    prior = logit(table["scene_ctr_7d"].to_numpy())[rows]
    standard = standardiser.apply(raw)[rows]
    for column, constant, is_prior in zip(cold.columns, cold.constants, cold.is_prior, strict=True):
        if NAMES[column].endswith(("days_since_seen", "age_days")):
            continue  # the fabricated lake does not have them
        expected = (prior - standardiser.mean[column]) * standardiser.scale[column] if is_prior else constant
        assert np.allclose(standard[:, column], np.clip(expected, -6, 6), atol=1e-4), INPUTS[column].name


def test_some_inputs_need_only_their_own_columns(made):
    table, names = arrow(training_frame(made.log, 2)), ("hour_cosine", "item_ctr_7d", "hour_sine")
    selected = transformed(table.select(columns_of(names)), names)
    assert table.select(columns_of(names)).column_names == ["hour_of_day", "item_ctr_7d"]
    assert np.array_equal(selected, transformed(table)[:, [NAMES.index(name) for name in names]])


def test_wild_values_are_held(made):
    raw = values(made)
    moments = Moments()
    moments.add(raw)
    raw[0, :] = 1e12
    assert np.abs(moments.standardiser().apply(raw)).max() <= 6


def test_integer_and_null_columns_are_read(made):
    table = arrow(training_frame(made.log, 1)).slice(0, 2)
    nulls = pa.array([None, None], pa.float64())
    table = table.set_column(table.column_names.index("deep_features_3"), "deep_features_3", nulls)
    assert np.isnan(transformed(table)[:, DEEP][:, 3]).all()
