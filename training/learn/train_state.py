"""The state of a training run beside the weights, and the progress within a day."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from include.records import CurvePoint
from training.data.id_memory import Floats
from training.data.rows import Rows
from training.data.state import State
from training.learn.calibration import Calibration, Doubles
from training.learn.trainer import NOTHING_YET, Pass
from training.text.vector_cache import Keys

CALIBRATION_DAYS = 3
SCENE_ROWS = 20_000
"""Most rows of a scene and day that are kept for the final weights to predict again."""


@dataclass(frozen=True)
class HeldOutDay:
    """A day as predicted before the model learned from it: `logit [n] float64`, not calibrated, `label [n]` and `scene
    [n] int64`.

    `sample` are rows of the day, at most `SCENE_ROWS` of each scene, to be predicted again by the final weights.
    """

    logit: Doubles
    label: Floats
    scene: Keys
    sample: Rows


@dataclass(frozen=True)
class TrainState:
    """The model state at the end of the last trained day, the learning curve, and the last days as predicted before training."""

    state: State
    curve: tuple[CurvePoint, ...] = ()
    held_out: tuple[HeldOutDay, ...] = ()

    def and_day(self, state: State, point: CurvePoint, held_out: HeldOutDay | None) -> "TrainState":
        """Return the state after one more day; `held_out` is None where the day cannot calibrate."""
        days = (*self.held_out, held_out) if held_out else self.held_out
        return TrainState(state, (*self.curve, point), days[-CALIBRATION_DAYS:])

    def calibration(self, before: Calibration, again: Sequence[Doubles]) -> Calibration:
        """Return the calibration: slopes from the held-out predictions, which say how far to trust a logit of unseen
        rows; offsets from their samples as the final weights predict them, `again`, as a model with less training
        has another mean error.

        With fewer than `CALIBRATION_DAYS` days, it is moved part of the way from `before` only.
        """
        if not self.held_out:
            return before
        logits = np.concatenate([day.logit for day in self.held_out])
        labels = np.concatenate([day.label for day in self.held_out]).astype(np.float64)
        scene = np.concatenate([day.scene for day in self.held_out])
        fitted = Calibration.fit(logits, labels, scene, len(before.slope))
        sampled = np.concatenate([day.sample.label.numpy() for day in self.held_out]).astype(np.float64)
        of_scene = np.concatenate([day.sample.scene.numpy() for day in self.held_out])
        fitted = fitted.with_offsets_of(np.concatenate(again), sampled, of_scene)
        return before.towards(fitted, len(self.held_out) / CALIBRATION_DAYS)


def sampled(scene: Tensor, generator: torch.Generator) -> Tensor:
    """Return positions, ascending, of at most `SCENE_ROWS` random rows of each scene, of rows in the scenes `scene [n] int64`."""
    order = torch.randperm(len(scene), generator=generator)
    return torch.cat([order[scene[order] == code][:SCENE_ROWS] for code in scene.unique()]).sort().values


@dataclass(frozen=True)
class PartialDay:
    """A partially trained day: `logit [n] float64`, predicted before the first row was trained on, and the progress of
    the pass."""

    logit: Doubles
    so_far: Pass = NOTHING_YET
