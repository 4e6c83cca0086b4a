"""What the days learnt so far leave beside the weights, and how far the day at hand has come."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from training.data.id_memory import Floats
from training.data.rows import Rows
from training.data.state import State
from training.learn.calibration import Calibration, Doubles
from training.learn.trainer import NOTHING_YET, CurvePoint, Pass
from training.text.vector_cache import Keys

CALIBRATION_DAYS = 3
SCENE_ROWS = 20_000
"""Most rows of a scene and day that are kept for the final weights to predict again."""


@dataclass(frozen=True)
class HeldOutDay:
    """A day as predicted before it was learnt from: `logit [n] float64`, not calibrated, `label [n]` and `scene [n] int64`.

    `sample` are rows of the day, at most `SCENE_ROWS` of each scene, to be predicted again by the final weights.
    """

    logit: Doubles
    label: Floats
    scene: Keys
    sample: Rows


@dataclass(frozen=True)
class TrainState:
    """The state at the end of the last learnt day, a point of the curve for each, and the last ones as they were foreseen."""

    state: State
    curve: tuple[CurvePoint, ...] = ()
    held_out: tuple[HeldOutDay, ...] = ()

    def and_day(self, state: State, point: CurvePoint, held_out: HeldOutDay | None) -> "TrainState":
        """The same after one more day; `held_out` is None where it tells nothing."""
        days = (*self.held_out, held_out) if held_out else self.held_out
        return TrainState(state, (*self.curve, point), days[-CALIBRATION_DAYS:])

    def calibration(self, before: Calibration, again: Sequence[Doubles]) -> Calibration:
        """Slopes of the days as they were foreseen, which tell how far to trust a logit of rows not learnt yet; offsets of their
        samples as the final weights predict them, `again`: a younger model errs otherwise on average.

        With fewer than three days, the rest of the way is `before`.
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
    """Places, ascending, of at most `SCENE_ROWS` random rows of each scene, of rows in the scenes `scene [n] int64`."""
    order = torch.randperm(len(scene), generator=generator)
    return torch.cat([order[scene[order] == place][:SCENE_ROWS] for place in scene.unique()]).sort().values


@dataclass(frozen=True)
class PartialDay:
    """A day in the middle: `logit [n] float64`, what was foreseen of its rows, and how far the pass over them has come."""

    logit: Doubles
    so_far: Pass = NOTHING_YET
