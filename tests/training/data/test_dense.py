import numpy as np
import pyarrow as pa
from fabricate import arrow, training_frame

from training.data.dense import DEEP, NAMES, cold_values, columns_of, logit, transformed
from training.data.standardiser import Standardiser


def values(made) -> np.ndarray:
    return transformed(arrow(training_frame(made.log, 2)))


def test_a_cold_items_features_are_the_declared_defaults(made):
    """What the simulation writes into a row equals what the training table holds for an item never seen."""
    table = arrow(training_frame(made.log, 2))
    raw = transformed(table)
    standardiser = Standardiser.fit(raw)
    cold = cold_values(("item",), standardiser)
    names = [name for name, used in zip(NAMES, standardiser.used, strict=True) if used]
    unseen = np.flatnonzero(np.array(table["item_level"].to_pylist()) == "zero")
    prior = logit(table["scene_ctr_7d"].to_numpy())[unseen]
    standard = standardiser.apply(raw)[unseen]
    priors = cold.standardiser.apply(np.repeat(prior[:, None], len(cold.columns), axis=1))
    assert {"item_impressions_7d", "item_ctr_7d"} <= {names[column] for column in cold.columns}
    for index, column in enumerate(cold.columns):
        expected = priors[:, index] if cold.is_prior[index] else cold.constants[index]
        assert np.allclose(standard[:, column], expected, atol=1e-4), names[column]


def test_some_inputs_need_only_their_own_columns(made):
    table, names = arrow(training_frame(made.log, 2)), ("hour_cosine", "item_ctr_7d", "hour_sine")
    selected = transformed(table.select(columns_of(names)), names)
    assert table.select(columns_of(names)).column_names == ["hour_of_day", "item_ctr_7d"]
    assert np.array_equal(selected, transformed(table)[:, [NAMES.index(name) for name in names]])


def test_integer_and_null_columns_are_read(made):
    table = arrow(training_frame(made.log, 1)).slice(0, 2)
    nulls = pa.array([None, None], pa.float64())
    table = table.set_column(table.column_names.index("deep_features_3"), "deep_features_3", nulls)
    assert np.isnan(transformed(table)[:, DEEP][:, 3]).all()
