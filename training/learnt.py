"""What the days learnt so far leave beside the weights, and how far the day at hand has come."""

from dataclasses import dataclass

import numpy as np

from training.cache import Keys
from training.calibration import Calibration, Doubles
from training.loop import NOTHING_YET, CurvePoint, Pass
from training.memory import Floats
from training.state import State

CALIBRATION_DAYS = 3


@dataclass(frozen=True)
class Foreseen:
    """A day as predicted before it was learnt from: `logit [n] float64`, not calibrated, `label [n]` and `scene [n] int64`."""

    logit: Doubles
    label: Floats
    scene: Keys


@dataclass(frozen=True)
class Learnt:
    """The state at the end of the last learnt day, a point of the curve for each, and the last ones as they were foreseen."""

    state: State
    curve: tuple[CurvePoint, ...] = ()
    foreseen: tuple[Foreseen, ...] = ()

    def and_day(self, state: State, point: CurvePoint, foreseen: Foreseen | None) -> "Learnt":
        """The same after one more day; `foreseen` is None where it tells nothing."""
        days = (*self.foreseen, foreseen) if foreseen else self.foreseen
        return Learnt(state, (*self.curve, point), days[-CALIBRATION_DAYS:])

    def calibration(self, before: Calibration) -> Calibration:
        """Fitted on the days as they were foreseen; with fewer than three, the rest of the way is `before`."""
        if not self.foreseen:
            return before
        logits = np.concatenate([day.logit for day in self.foreseen])
        labels = np.concatenate([day.label for day in self.foreseen]).astype(np.float64)
        scene = np.concatenate([day.scene for day in self.foreseen])
        fitted = Calibration.fit(logits, labels, scene, len(before.slope))
        return before.towards(fitted, len(self.foreseen) / CALIBRATION_DAYS)


@dataclass(frozen=True)
class Begun:
    """A day in the middle: `logit [n] float64`, what was foreseen of its rows, and how far the pass over them has come."""

    logit: Doubles
    so_far: Pass = NOTHING_YET
