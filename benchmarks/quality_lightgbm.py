"""LightGBM as a peer: the declared numeric features as they are, the deep features, and the scene as a category.

It sees the inputs of `training.dense` without their transforms, which trees do not need, and neither ids nor texts. The
number of rounds is that of the lowest log loss on the last training day, fitted without it (`held_out`); then all days are
fitted with it.
"""

import os
from collections.abc import Sequence
from datetime import date
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.quality_models import held_out, training_rows
from include.lake import Lake
from include.settings import Settings
from training.dense import columns_of
from training.metrics import Floats

MOST_ROUNDS, PATIENCE = 2000, 100
PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 1.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
"""Chosen beforehand and for every data set; nothing was tuned."""


class LightGbm:
    """Gradient-boosted trees."""

    def __init__(self, store: Lake, settings: Settings) -> None:
        self._store, self._scenes = store, settings.scenes
        self._parameters = PARAMETERS | {"seed": settings.seed, "num_threads": os.cpu_count() or 1}
        self._numbers = columns_of()
        self.about: dict[str, Any] = {}

    def fit(self, days: Sequence[date]) -> None:
        """See `Model`."""
        rows = training_rows(self._store, days, [*self._numbers, "scene", "user_id", "label"])
        learnt, held = held_out(rows)
        rounds = self._train(learnt, MOST_ROUNDS, stop_on=held).best_iteration
        self._booster = self._train(pa.concat_tables(rows), rounds)
        self.about = {"rounds": rounds, "most_rounds": MOST_ROUNDS, "parameters": self._parameters}

    def predict(self, rows: pa.Table) -> Floats:
        """See `Model`."""
        return np.asarray(self._booster.predict(self._inputs(rows)), np.float64)

    def _train(self, rows: pa.Table, rounds: int, stop_on: pa.Table | None = None) -> lgb.Booster:
        data = self._data(rows)
        if stop_on is None:
            return lgb.train(self._parameters, data, rounds)
        held, stop = self._data(stop_on, data), lgb.early_stopping(PATIENCE, verbose=False)
        return lgb.train(self._parameters, data, rounds, valid_sets=[held], callbacks=[stop])

    def _data(self, rows: pa.Table, reference: lgb.Dataset | None = None) -> lgb.Dataset:
        label = rows["label"].to_numpy().astype(np.float32)
        scene = [len(self._numbers)]
        return lgb.Dataset(self._inputs(rows), label, categorical_feature=scene, reference=reference)

    def _inputs(self, rows: pa.Table) -> Floats:
        """`[n, features + 1]`: NaN where a value is missing; the last column is the place of the scene."""
        scene = pc.index_in(rows["scene"], value_set=pa.array(self._scenes, pa.string()))
        numbers = [rows[name].cast(pa.float64()).to_numpy() for name in self._numbers]
        return np.stack([*numbers, scene.cast(pa.float64()).to_numpy()], axis=1)
