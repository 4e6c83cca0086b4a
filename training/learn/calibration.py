"""Platt scaling (Platt, 1999) for each scene: p = σ(a · logit + b), shrunk towards a = 1, b = 0 where clicks are few."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
SHRINKAGE = np.array([100.0, 10.0])
"""Strength of the pull to (1, 0), in units of the log loss's curvature: about that many rows at even odds, times four."""
STEPS = 25
CONVERGED = 1e-10


@dataclass(frozen=True)
class Calibration:
    """`slope [scenes]` and `offset [scenes] float64`."""

    slope: Doubles
    offset: Doubles

    @classmethod
    def identity(cls, scenes: int) -> "Calibration":
        """Return a calibration that changes nothing."""
        return cls(np.ones(scenes), np.zeros(scenes))

    @classmethod
    def fit(cls, logits: Doubles, labels: Doubles, scene: npt.NDArray[np.int64], scenes: int) -> "Calibration":
        """Fit each scene on out-of-sample logits `[n]` and labels `[n]`; a scene without rows keeps the identity."""
        fitted = np.array([_platt(logits[scene == index], labels[scene == index]) for index in range(scenes)])
        return cls(fitted[:, 0], fitted[:, 1])

    def with_offsets_of(self, logits: Doubles, labels: Doubles, scene: npt.NDArray[np.int64]) -> "Calibration":
        """Return the same slopes with offsets fitted on logits `[n]` and labels `[n]`, shrunk towards the present ones."""
        offset = [
            _offset(slope * logits[scene == index], labels[scene == index], offset)
            for index, (slope, offset) in enumerate(zip(self.slope, self.offset, strict=True))
        ]
        return Calibration(self.slope, np.array(offset))

    def towards(self, other: "Calibration", share: float) -> "Calibration":
        """Return the calibration that is `share`, in [0, 1], of the way to another one."""
        return Calibration(
            self.slope + share * (other.slope - self.slope), self.offset + share * (other.offset - self.offset)
        )

    def apply(self, logits: Doubles, scene: npt.NDArray[np.int64]) -> Doubles:
        """Return calibrated probabilities `[n] float64`."""
        return sigmoid(self.slope[scene] * logits + self.offset[scene])

    def as_json(self, scenes: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return slope and offset by scene, for `calibration.json`."""
        return {
            name: {"slope": float(slope), "offset": float(offset)}
            for name, slope, offset in zip(scenes, self.slope, self.offset, strict=True)
        }

    @classmethod
    def from_json(cls, data: dict[str, dict[str, float]], scenes: Sequence[str]) -> "Calibration":
        """Return the calibration that `as_json` has written."""
        return cls(
            np.array([data[name]["slope"] for name in scenes]), np.array([data[name]["offset"] for name in scenes])
        )


def sigmoid(x: Doubles) -> Doubles:
    """Return 1 / (1 + e^-x), safe for large |x|."""
    return np.exp(-np.logaddexp(0, -x))


def _platt(logits: Doubles, labels: Doubles) -> Doubles:
    """Fit slope and offset by Newton's method on the penalised log loss, which is convex."""
    target = np.array([1.0, 0.0])
    inputs = np.stack([logits, np.ones_like(logits)], axis=1)
    weights = target.copy()
    for _ in range(STEPS):
        predicted = sigmoid(inputs @ weights)
        gradient = inputs.T @ (predicted - labels) + SHRINKAGE * (weights - target)
        curvature = (inputs * (predicted * (1 - predicted))[:, None]).T @ inputs + np.diag(SHRINKAGE)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < CONVERGED:
            break
    return weights


def _offset(logits: Doubles, labels: Doubles, target: float) -> float:
    """Fit the offset alone, by the same method; the penalty pulls it to the target."""
    offset = target
    strength = SHRINKAGE[1]
    for _ in range(STEPS):
        predicted = sigmoid(logits + offset)
        gradient = (predicted - labels).sum() + strength * (offset - target)
        step = gradient / ((predicted * (1 - predicted)).sum() + strength)
        offset -= step
        if abs(step) < CONVERGED:
            break
    return float(offset)
