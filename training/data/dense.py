"""Dense features: transformed as `include.features` declares, then standardised with statistics of the training window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.features import FEATURES
from include.schemas import DEEP_FEATURES

Matrix = npt.NDArray[np.float32]
LEFT_OUT = ("day_of_week", "hour_of_day", "scene_position")
"""No inputs as they are: a weekday would name a handful of days, the hour goes round (`CLOCK`), a scene has its own experts."""
INPUTS = tuple(feature for feature in FEATURES if feature.name not in LEFT_OUT)
CLOCK = ("hour_sine", "hour_cosine")
NAMES = tuple(feature.name for feature in INPUTS) + CLOCK + DEEP_FEATURES
DEEP = slice(-len(DEEP_FEATURES), None)
"""Columns of the deep features in a dense matrix."""
_TRANSFORMS = {feature.name: feature.transform for feature in INPUTS}
_CLIP = 6.0
_RATE_FLOOR = 1e-4


def logit(rate: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return log(p / (1 − p)), with rates clipped to [1e-4, 1 − 1e-4]."""
    held = np.clip(rate, _RATE_FLOOR, 1 - _RATE_FLOOR)
    return np.log(held / (1 - held))


def columns_of(names: Sequence[str] = NAMES) -> list[str]:
    """Return the columns of `training` that these inputs are made of."""
    return list(dict.fromkeys("hour_of_day" if name in CLOCK else name for name in names))


def transformed(rows: pa.Table, names: Sequence[str] = NAMES) -> npt.NDArray[np.float64]:
    """Return transformed inputs `[rows, len(names)] float64`, NaN where a value is missing; reads `columns_of(names)`."""
    return np.stack([_input(rows, name) for name in names], axis=1)


def _input(rows: pa.Table, name: str) -> npt.NDArray[np.float64]:
    if name in CLOCK:
        angle = _numbers(rows, "hour_of_day") * (2 * np.pi / 24)
        return np.sin(angle) if name == "hour_sine" else np.cos(angle)
    return _transform(_numbers(rows, name), _TRANSFORMS.get(name, "identity"))


def _transform(values: npt.NDArray[np.float64], how: str) -> npt.NDArray[np.float64]:
    if how == "log1p":
        return np.log1p(np.maximum(values, 0))
    return logit(values) if how == "logit" else values


def _numbers(rows: pa.Table, name: str) -> npt.NDArray[np.float64]:
    return rows[name].cast(pa.float64()).to_numpy()


class Moments:
    """Running count, mean and variance of each feature; missing values do not count."""

    def __init__(self, features: int = len(NAMES)) -> None:
        self._count = np.zeros(features)
        self._sum = np.zeros(features)
        self._squares = np.zeros(features)

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Add transformed values `[rows, features]`, one after another: parts of any size give the same sums."""
        finite = np.where(np.isfinite(values), values, 0.0)
        self._count += np.isfinite(values).sum(axis=0)
        self._sum = np.concatenate([self._sum[None], finite]).sum(axis=0)
        self._squares = np.concatenate([self._squares[None], finite**2]).sum(axis=0)

    def standardiser(self) -> "Standardiser":
        """Return the standardiser to zero mean and unit variance; a constant feature becomes 0."""
        count = np.maximum(self._count, 1)
        mean = self._sum / count
        deviation = np.sqrt(np.maximum(self._squares / count - mean**2, 0))
        scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)
        return Standardiser(mean.astype(np.float32), scale.astype(np.float32))


@dataclass(frozen=True)
class Standardiser:
    """`mean [features] float32`, `scale [features] float32` (one over the deviation), in the order of `NAMES`."""

    mean: Matrix
    scale: Matrix

    def apply(self, values: npt.NDArray[np.float64]) -> Matrix:
        """Return standardised values `[rows, features] float32`, clipped to ±6; missing ones are 0, the training mean."""
        standard = np.nan_to_num((values - self.mean) * self.scale, nan=0.0)
        return np.clip(standard, -_CLIP, _CLIP).astype(np.float32)


@dataclass(frozen=True)
class ColdValues:
    """Values of the columns of a grain for a key that is not in the snapshot: a constant, or the scene's prior CTR.

    `constants [features]` are standardised defaults; where `is_prior [features]` the row's own prior takes their place.
    """

    columns: npt.NDArray[np.int64]
    constants: Matrix
    is_prior: npt.NDArray[np.bool_]


def cold_values(grains: Sequence[str], standardiser: Standardiser) -> ColdValues:
    """Return the cold values of every feature of the grains, so that a row can be made to look as if its key was never seen."""
    columns = np.array([column for column, feature in enumerate(INPUTS) if feature.grain in grains], np.int64)
    raw = np.full((1, len(NAMES)), np.nan)
    for column in columns:
        default = INPUTS[column].default
        if default is not None:
            raw[0, column] = _transform(np.array([float(default)]), INPUTS[column].transform)[0]
    is_prior = np.array([INPUTS[column].default is None for column in columns], bool)
    return ColdValues(columns, standardiser.apply(raw)[0, columns], is_prior)
