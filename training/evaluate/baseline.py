"""A cheap model beside every night, fitted on the counts alone, so that a network that is no better than them is noticed.

Gradient-boosted trees (scikit-learn's histogram trees, after LightGBM) on the declared numeric features as they are and
the scene; neither ids nor texts. They are fitted anew each night on a sample of the last week, and evaluated on the
candidate's rows.
"""

import time
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.ensemble import HistGradientBoostingClassifier

from include.calendar import WINDOW_DAYS, previous
from include.lake.lake import Lake
from include.metrics_records import BaselineFit
from include.settings import Settings
from training.data.dense import columns_of
from training.data.row_sample import KEY, sample
from training.evaluate.metrics import Floats
from training.tables import Shards, only_days_before, published_days, read_shards

NEEDED_FOR = "The baseline"
FEWEST_CLICKS = 50
_PARAMETERS: dict[str, Any] = {
    "learning_rate": 0.1,
    "max_iter": 100,
    "min_samples_leaf": 50,
    "l2_regularization": 1.0,
    "early_stopping": True,
}
"""Chosen beforehand; nothing was tuned."""


def predict(lake: Lake, day: date, shards: Shards, settings: Settings) -> tuple[Floats | None, BaselineFit]:
    """Fit the baseline on days before `day`; return its probabilities of the rows of the day's shards `[n]`, and how it was
    fitted.

    None where `CTR_BASELINE_ROWS` is 0 or the days before have too few clicks, which `note` says.
    """
    started = time.monotonic()
    if not settings.baseline_rows:
        return None, BaselineFit(note="CTR_BASELINE_ROWS is 0")
    with only_days_before(day):
        training_rows = sample(_rows_before(lake, day, settings), settings.baseline_rows, _columns())
    label = training_rows["label"].to_numpy()
    clicks = int(label.sum())
    about: dict[str, Any] = {"rows": len(label), "clicks": clicks, "parameters": _PARAMETERS}
    if min(clicks, len(label) - clicks) < FEWEST_CLICKS:
        return None, BaselineFit(**about, note=f"the week before has {clicks} clicks of {len(label)} rows")
    inputs = _inputs(training_rows, settings)
    used = np.flatnonzero(np.isfinite(inputs).any(axis=0))  # scikit-learn has no bins for a column without a value
    scene = [len(used) - 1]
    model = HistGradientBoostingClassifier(**_PARAMETERS, categorical_features=scene, random_state=settings.seed)
    model.fit(inputs[:, used], label)
    probability = np.concatenate(
        [model.predict_proba(_inputs(shard, settings)[:, used])[:, 1] for shard in shards(_columns())]
    )
    seconds = round(time.monotonic() - started, 2)
    return probability, BaselineFit(**about, trees=model.n_iter_, seconds=seconds, note=None)


def _rows_before(lake: Lake, day: date, settings: Settings) -> Iterator[pa.Table]:
    for earlier in published_days(lake, "training", previous(day), WINDOW_DAYS):
        yield from read_shards(lake, "training", earlier, NEEDED_FOR, settings.shard_rows, [KEY, *_columns()])


def _columns() -> list[str]:
    return [*columns_of(), "scene", "label"]


def _inputs(rows: pa.Table, settings: Settings) -> Floats:
    """Return `[n, features + 1]`: NaN where a value is missing; the last is the number of the scene."""
    scene = pc.index_in(rows["scene"], value_set=pa.array(settings.scenes, pa.string())).cast(pa.float64())
    return np.stack([*(rows[name].cast(pa.float64()).to_numpy() for name in columns_of()), scene.to_numpy()], axis=1)
