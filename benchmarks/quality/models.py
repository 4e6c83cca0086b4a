"""What `benchmarks.quality.compare` compares: the rungs of the project's ladder, and the peers that a user would pick instead.

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

from include.errors import CtrError, InvalidInputError
from include.lake.lake import Lake
from include.schemas import LEVELS
from include.settings import Settings
from training.evaluate.metrics import Floats
from training.evaluate.predictions import usable
from training.learn import train
from training.tables import only_days_before, read_day

NEEDED_FOR = "The quality benchmark"
LADDER = ("dnn", "mmoe", "ple", "ple-text", "ple-alpha", "ple-alpha-llm")
"""The project's models; each adds one thing to the one before it."""
ALTERNATIVES = ("star", "pepnet")
"""Other backbones of the project, in the place of `ple`; measured where asked for."""
TEXT_SPACES = {f"ple-text-{space}": space for space in ("whitened", "encoder")}
"""`ple-text` in other spaces than the default one; measured where asked for."""
LIGHTGBM, LIGHTGBM_TEXT = "lightgbm", "lightgbm-text"
PEERS = (LIGHTGBM, LIGHTGBM_TEXT, "rechub-mmoe", "rechub-ple")
MODELS = (*PEERS, *LADDER, *ALTERNATIVES, *TEXT_SPACES)
LLM = "ple-alpha-llm"
"""The model that reads the vectors of the language model."""
BEFORE = {
    **dict(zip(LADDER[1:], LADDER, strict=False)),
    **dict.fromkeys(ALTERNATIVES, "mmoe"),
    **dict.fromkeys(TEXT_SPACES, "ple-text"),
}
"""The rung that each is compared with."""


class Model(Protocol):
    """A click model; `about` tells what was found while fitting and predicting (rounds, epochs, α), for the record."""

    about: dict[str, Any]

    def fit(self, days: Sequence[date]) -> None:
        """Starts from nothing and learns from the training rows of these days, ascending."""

    def predict(self, rows: pa.Table) -> Floats:
        """Click probabilities `[n] float64` of rows of the `training` table without `label`."""


class ModelVariant:
    """A model of the ladder, as `training.learn.train` trains it from nothing: one pass over the days in order."""

    def __init__(self, name: str, store: Lake, settings: Settings) -> None:
        self._store = store
        space = TEXT_SPACES.get(name, settings.text_space)
        model = "ple-text" if name in TEXT_SPACES else name
        self._settings = settings.model_copy(update={"model": model, "text_space": space})
        self.about: dict[str, Any] = {}

    def fit(self, days: Sequence[date]) -> None:
        """See `Model`."""
        self._predictor = train.fit(self._store, list(days), self._settings, None).predictor
        self.about = {"epochs": 1, "weights": sum(each.numel() for each in self._predictor.model.parameters())}

    def predict(self, rows: pa.Table) -> Floats:
        """See `Model`."""
        found = self._predictor.predict(rows, self._store)
        if self._predictor.state.config.variant.content:
            self.about["alpha"] = {
                side: {level: _mean(found.alpha, rows[f"{side}_level"], level) for level in LEVELS}
                for side in ("user", "item")
            }
        return found.probability


def _mean(values: Floats, column: pa.ChunkedArray, level: str) -> float | None:
    """The mean of the values where the column is at this level; None where it never is."""
    chosen = values[pc.equal(column, level).to_numpy()]
    return round(float(chosen.mean()), 4) if len(chosen) else None


def model_of(name: str, store: Lake, settings: Settings) -> Model:
    """A model by its name in `MODELS`, not fitted yet."""
    if name in (*LADDER, *ALTERNATIVES, *TEXT_SPACES):
        return ModelVariant(name, store, settings)
    if name in (LIGHTGBM, LIGHTGBM_TEXT):
        from benchmarks.quality.lightgbm_models import LightGbm

        return LightGbm(store, settings, text=name == LIGHTGBM_TEXT)
    if name in PEERS:
        from benchmarks.quality.rechub import Rechub

        return Rechub(name.removeprefix("rechub-"), store, settings)
    raise InvalidInputError(f"There is no model '{name}'. Choose from: {', '.join(MODELS)}.")


@dataclass(frozen=True)
class Fitted:
    """A model's predictions of a day, of rows in the order of their events, `probability [n] float64`, and what they took."""

    probability: Floats
    rows: int
    fit_seconds: float
    predict_seconds: float
    about: dict[str, Any]


def evaluation_rows(store: Lake, day: date) -> pa.Table:
    """The training rows of a day in the order of their events."""
    return read_day(store, "training", day, NEEDED_FOR).sort_by("event_id")


def training_rows(store: Lake, days: Sequence[date], columns: Sequence[str]) -> list[pa.Table]:
    """These columns of the training rows of each of some days."""
    return [read_day(store, "training", day, NEEDED_FOR, columns).select(list(columns)) for day in days]


def held_out(rows: Sequence[pa.Table]) -> tuple[pa.Table, pa.Table]:
    """What a peer learns from while it looks for its rounds or epochs, and what it stops on, of the rows of its training days.

    That is the last day; of fewer than three days only a fifth of its users, since the first day of a lake has no features yet.
    """
    last = rows[-1]
    if len(rows) >= 3:
        return pa.concat_tables(rows[:-1]), last
    users = pa.array(sorted(pc.unique(last["user_id"]).to_pylist())[::5])
    chosen = pc.is_in(last["user_id"], value_set=users)
    return pa.concat_tables([*rows[:-1], last.filter(pc.invert(chosen))]), last.filter(chosen)


def fit_and_predict(name: str, store: Lake, days: Sequence[date], day: date, settings: Settings) -> Fitted:
    """Fits a model on `days`, all before `day`, and predicts the rows of `day`.

    Raises `LeakageError` where fitting reads `day` or a later one, `CtrError` where a prediction is no probability.
    """
    model, began = model_of(name, store, settings), time.monotonic()
    with only_days_before(day):
        model.fit(days)
        fitted_rows = sum(store.require("training", each, NEEDED_FOR).tables["training"].rows for each in days)
    fitted = time.monotonic()
    rows = evaluation_rows(store, day).drop_columns(["label"])
    read = time.monotonic()
    probability = model.predict(rows)
    if len(probability) != rows.num_rows or not usable(probability):
        raise CtrError(f"{name} of {day}: expected {rows.num_rows} probabilities, found others. Look at its fit.")
    return Fitted(probability, fitted_rows, fitted - began, time.monotonic() - read, model.about)
