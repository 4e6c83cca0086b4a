"""Training on one day: predict it first, then add it to the memory and train on it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import torch

from include.lake.lake import Lake
from include.settings import Settings
from training.data.day_rows import on_disk, rows_of_day
from training.data.id_memory import Floats
from training.data.rows import Rows, state_after, with_prior
from training.data.shuffle import generator_of
from training.device import steady_threads
from training.distributed import share_of, total
from training.learn.calibration import Doubles
from training.learn.checkpoints import Checkpoints
from training.learn.steps import threads_of_step
from training.learn.train_state import HeldOutDay, PartialDay, TrainState, sampled
from training.learn.trainer import Pass, Trainer, curve_point, predict
from training.models.text import TextLookup
from training.text.text_table import TextTable


@dataclass(frozen=True)
class Texts:
    """The texts of all days: `table` for rows, `members [texts, topics]` their topics, `lookup` for the network."""

    table: TextTable
    members: Floats
    lookup: TextLookup


@dataclass(frozen=True)
class Learning:
    """What the days of a run share; `advance` is called with the number of rows trained on, step by step."""

    lake: Lake
    settings: Settings
    trainer: Trainer
    texts: Texts
    advance: Callable[[int], None]
    checkpoints: Checkpoints | None = None

    def day(self, day: date, train_state: TrainState, partial_day: PartialDay | None) -> TrainState:
        """Train on one day and return the new state; resumes a partially trained day."""
        started = time.monotonic()
        state = train_state.state
        texts = self.texts
        rows, item_texts = rows_of_day(self.lake, day, state, texts.table, texts.members, self.settings)
        steady_threads(threads_of_step(self.settings, len(rows)))
        with self.trainer.precision_of(len(rows)):
            partial_day = partial_day or PartialDay(self._predict_day(rows))
        logit = partial_day.logit
        after = state_after(state, rows, item_texts, texts.members, logit)

        def keep(so_far: Pass) -> None:
            if self.checkpoints:
                self.checkpoints.write(self.trainer, train_state, PartialDay(logit, so_far))

        labelled = with_prior(rows, state.config)
        with self.trainer.precision_of(len(rows)):
            loss = self.trainer.learn(labelled, texts.lookup, day, self.advance, partial_day.so_far, keep)
        point = curve_point(day, rows, logit, loss, started)
        untrained = self.trainer.fresh and not train_state.curve  # predictions of untrained weights calibrate nothing
        held_out = None if untrained else self._held_out_day(day, labelled, logit)
        return train_state.and_day(after, point, held_out)

    def _held_out_day(self, day: date, rows: Rows, logit: Doubles) -> HeldOutDay:
        sample = rows.take(sampled(rows.scene, generator_of(self.settings.seed, day)))
        return HeldOutDay(logit, rows.label.numpy(), rows.scene.numpy(), on_disk([sample], self.settings.home))

    def _predict_day(self, rows: Rows) -> Doubles:
        """Return logits `[n] float64` of the day's rows before any is trained on; each process predicts its share."""
        own = share_of(len(rows))
        logit = torch.zeros(len(rows), dtype=torch.float64)
        with self.trainer.averaged() as steady:
            logit[own] = torch.from_numpy(predict(steady, rows.between(own), self.texts.lookup).logit)
        return total(logit.to(self.trainer.device)).cpu().numpy()
