"""The models of `benchmarks.quality.compare`: the project's model variants, and the peers that a user would pick instead.

Every model is fitted on the training rows of days before the evaluation day, inside `only_days_before`, where no later day can
be read, and predicts the day's rows from a table that has no `label` column.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.quality.rows import NEEDED_FOR
from include.errors import CtrError, InvalidInputError
from include.lake.lake import Lake
from include.schemas import LEVELS
from include.settings import Settings
from training.evaluate.metrics import Floats
from training.evaluate.predictions import usable
from training.learn import train
from training.model_variants import MODEL_VARIANTS
from training.tables import only_days_before, read_day

VARIANTS = ("dnn", "mmoe", "ple", "ple-text", "ple-alpha", "ple-alpha-llm")
"""The project's models; each adds one thing to the one before it."""
ALTERNATIVES = tuple(name for name in MODEL_VARIANTS if name not in VARIANTS)
"""Other backbones of the project, instead of `ple`; measured on request."""
TEXT_SPACES = {f"ple-text-{space}": space for space in ("whitened", "encoder")}
"""`ple-text` in other spaces than the default one; measured on request."""
LIGHTGBM = "lightgbm"
LIGHTGBM_TEXT = "lightgbm-text"
PEERS = (LIGHTGBM, LIGHTGBM_TEXT, "rechub-mmoe", "rechub-ple")
MODELS = (*PEERS, *VARIANTS, *ALTERNATIVES, *TEXT_SPACES)
LLM = "ple-alpha-llm"
"""The model that reads the vectors of the language model."""
PREVIOUS_VARIANT = {
    **dict(zip(VARIANTS[1:], VARIANTS, strict=False)),
    **dict.fromkeys(ALTERNATIVES, "mmoe"),
    **dict.fromkeys(TEXT_SPACES, "ple-text"),
}
"""The variant that each is compared with."""


class Model(Protocol):
    """A click model; `about` has facts of fitting and predicting (rounds, epochs, α), for the record."""

    about: dict[str, Any]

    def fit(self, days: Sequence[date]) -> None:
        """Train from scratch on the training rows of these days, ascending."""

    def predict(self, rows: pa.Table) -> Floats:
        """Return click probabilities `[n] float64` of rows of the `training` table without `label`."""


class ModelVariant:
    """A model variant of the project, trained from scratch by `training.learn.train`: one pass over the days in order."""

    def __init__(self, name: str, lake: Lake, settings: Settings) -> None:
        self._lake = lake
        space = TEXT_SPACES.get(name, settings.text_space)
        model = "ple-text" if name in TEXT_SPACES else name
        self._settings = settings.model_copy(update={"model": model, "text_space": space})
        self.about: dict[str, Any] = {}

    def fit(self, days: Sequence[date]) -> None:
        """Implement `Model`."""
        self._predictor = train.fit(self._lake, list(days), self._settings, None).predictor
        self.about = {"epochs": 1, "weights": sum(weight.numel() for weight in self._predictor.model.parameters())}

    def predict(self, rows: pa.Table) -> Floats:
        """Implement `Model`."""
        prediction = self._predictor.predict(rows, self._lake)
        if self._predictor.state.config.variant.content:
            self.about["alpha"] = {
                side: {level: _mean(prediction.alpha, rows[f"{side}_level"], level) for level in LEVELS}
                for side in ("user", "item")
            }
        return prediction.probability


def _mean(values: Floats, column: pa.ChunkedArray, level: str) -> float | None:
    """Return the mean of the values where the column is at this level; None where it never is."""
    selected = values[pc.equal(column, level).to_numpy()]
    return round(float(selected.mean()), 4) if len(selected) else None


def model_of(name: str, lake: Lake, settings: Settings) -> Model:
    """Return an unfitted model by its name in `MODELS`; raises `InvalidInputError` for other names."""
    if name in (*VARIANTS, *ALTERNATIVES, *TEXT_SPACES):
        return ModelVariant(name, lake, settings)
    if name in (LIGHTGBM, LIGHTGBM_TEXT):
        from benchmarks.quality.lightgbm_models import LightGbm

        return LightGbm(lake, settings, text=name == LIGHTGBM_TEXT)
    if name in PEERS:
        from benchmarks.quality.rechub import Rechub

        return Rechub(name.removeprefix("rechub-"), lake, settings)
    raise InvalidInputError(f"There is no model '{name}'. Choose from: {', '.join(MODELS)}.")


@dataclass(frozen=True)
class Fitted:
    """A model's predictions of a day, `probability [n] float64` in the order of the events, and their cost."""

    probability: Floats
    rows: int
    fit_seconds: float
    predict_seconds: float
    about: dict[str, Any]


def evaluation_rows(lake: Lake, day: date) -> pa.Table:
    """Return the training rows of a day in the order of their events."""
    return read_day(lake, "training", day, NEEDED_FOR).sort_by("event_id")


def fit_and_predict(name: str, lake: Lake, days: Sequence[date], day: date, settings: Settings) -> Fitted:
    """Fit a model on `days`, all before `day`, and predict the rows of `day`.

    Raises `LeakageError` where fitting reads `day` or a later one, `CtrError` where a prediction is no probability.
    """
    model = model_of(name, lake, settings)
    started = time.monotonic()
    with only_days_before(day):
        model.fit(days)
        fitted_rows = sum(lake.require("training", past, NEEDED_FOR).tables["training"].rows for past in days)
    fit_end = time.monotonic()
    rows = evaluation_rows(lake, day).drop_columns(["label"])
    predict_start = time.monotonic()
    probability = model.predict(rows)
    if len(probability) != rows.num_rows or not usable(probability):
        raise CtrError(f"{name} of {day}: expected {rows.num_rows} probabilities, found others. Next: check its fit.")
    return Fitted(probability, fitted_rows, fit_end - started, time.monotonic() - predict_start, model.about)
