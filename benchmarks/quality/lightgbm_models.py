"""LightGBM as a peer: the declared numeric features as they are, the deep features, and the scene as a category.

It sees the inputs of `training.data.dense` without their transforms, which trees do not need, and neither ids nor texts. The
number of rounds is that of the lowest log loss on the last training day, fitted without it (`held_out`); then all days are
fitted with it. `lightgbm-text` sees as well how an item's texts fit a user's intents, in the numbers that the project's models
read (`training.text.matching`): the remaining difference is not due to missing texts.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import lightgbm as lgb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.quality.rows import held_out, training_rows
from include.lake.lake import Lake
from include.settings import Settings
from training.data.dense import columns_of
from training.device import steady_threads
from training.evaluate.metrics import Floats
from training.text.encoders import resolve_encoder
from training.text.matching import MATCH_WIDTH, match
from training.text.text_table import BAGS, ITEM_TEXTS, TEXT_KEYS, TextTable, bag_width, keys_in
from training.text.vector_cache import VectorCache
from training.text.whitening import Whitening

SIMILARITIES = tuple(f"{bag}_similarity_{n}" for bag in BAGS[1:] for n in range(MATCH_WIDTH))
MOST_ROUNDS = 2000
PATIENCE = 100
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
    "num_threads": 1,  # as the other models have; two wait for each other where the machine is busy
    "verbose": -1,
}
"""Chosen in advance, for every data set; nothing was tuned."""


class LightGbm:
    """Gradient-boosted trees, with or without `text`."""

    def __init__(self, lake: Lake, settings: Settings, *, text: bool = False) -> None:
        self._lake = lake
        self._scenes = settings.scenes
        self._parameters = PARAMETERS | {"seed": settings.seed}
        self._texts = Similarities(lake, settings) if text else None
        self._numbers = [*columns_of(), *(SIMILARITIES if text else ())]
        self.about: dict[str, Any] = {}

    def fit(self, days: Sequence[date]) -> None:
        """Implement `Model`."""
        steady_threads()
        texts = TEXT_KEYS if self._texts else ()
        rows = training_rows(self._lake, days, [*columns_of(), *texts, "scene", "user_id", "label"])
        if self._texts:
            self._texts.fit(pa.concat_tables(rows))
            rows = [self._texts.added(table) for table in rows]
        fitted_rows, held = held_out(rows)
        rounds = self._train(fitted_rows, MOST_ROUNDS, stop_on=held).best_iteration
        self._booster = self._train(pa.concat_tables(rows), rounds)
        self.about = {"rounds": rounds, "most_rounds": MOST_ROUNDS, "parameters": self._parameters}

    def predict(self, rows: pa.Table) -> Floats:
        """Implement `Model`."""
        whole = self._texts.added(rows) if self._texts else rows
        return np.asarray(self._booster.predict(self._inputs(whole)), np.float64)

    def _train(self, rows: pa.Table, rounds: int, stop_on: pa.Table | None = None) -> lgb.Booster:
        data = self._data(rows)
        if stop_on is None:
            return lgb.train(self._parameters, data, rounds)
        held = self._data(stop_on, data)
        stop = lgb.early_stopping(PATIENCE, verbose=False)
        return lgb.train(self._parameters, data, rounds, valid_sets=[held], callbacks=[stop])

    def _data(self, rows: pa.Table, reference: lgb.Dataset | None = None) -> lgb.Dataset:
        label = rows["label"].to_numpy().astype(np.float32)
        scene = [len(self._numbers)]
        return lgb.Dataset(self._inputs(rows), label, categorical_feature=scene, reference=reference)

    def _inputs(self, rows: pa.Table) -> Floats:
        """Return `[n, inputs + 1]`: NaN where a value is missing; the last is the index of the scene."""
        scene = pc.index_in(rows["scene"], value_set=pa.array(self._scenes, pa.string()))
        numbers = [rows[name].cast(pa.float64()).to_numpy() for name in self._numbers]
        return np.stack([*numbers, scene.cast(pa.float64()).to_numpy()], axis=1)


class Similarities:
    """How the title and entities of an item fit each of a row's intent sequences, in the space of the training items' texts."""

    def __init__(self, lake: Lake, settings: Settings) -> None:
        self._vectors = VectorCache(lake, resolve_encoder(settings).slug)

    def fit(self, rows: pa.Table) -> None:
        """Centre the vectors on those of the items' texts, as the project's models do."""
        vectors, present = self._vectors.lookup(keys_in(rows, ITEM_TEXTS))
        self._space = Whitening.fit(vectors[present])

    def added(self, rows: pa.Table) -> pa.Table:
        """Return the rows with `SIMILARITIES`: to query, service and bill."""
        spaces = (self._space, Whitening.nothing())
        texts = TextTable.load(keys_in(rows), (self._vectors, self._vectors), spaces, None)
        title = texts.rows_of(rows["title_key"].fill_null(0).to_numpy())
        entities, *intents = (texts.bag(rows[name], bag_width(rows[name])) for name in BAGS)
        item = np.concatenate([title[:, None], entities], axis=1)
        values = np.concatenate([match(texts.unit, item, bag) for bag in intents], axis=1)
        for name, column in zip(SIMILARITIES, values.T, strict=True):
            rows = rows.append_column(name, pa.array(column))
        return rows
