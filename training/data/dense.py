"""Dense features: transformed as `include.features` declares; `standardiser.py` then brings them to one scale."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.features import FEATURES
from include.schemas import DEEP_FEATURES
from training.data.standardiser import Matrix, Standardiser

LEFT_OUT = ("day_of_week", "hour_of_day", "scene_position")
"""No inputs as they are: a weekday would name a handful of days, the hour goes round (`CLOCK`), a scene has its own experts."""
INPUTS = tuple(feature for feature in FEATURES if feature.name not in LEFT_OUT)
CLOCK = ("hour_sine", "hour_cosine")
NAMES = tuple(feature.name for feature in INPUTS) + CLOCK + DEEP_FEATURES
DEEP = slice(-len(DEEP_FEATURES), None)
"""Columns of the deep features in a matrix of all inputs."""
_TRANSFORMS = {feature.name: feature.transform for feature in INPUTS}
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


@dataclass(frozen=True)
class ColdValues:
    """Values of the columns of a grain for a key that is not in the snapshot: a constant, or the scene's prior CTR.

    `columns [n] int64` of a matrix of used inputs; `constants [n]` are standardised defaults; where `is_prior [n]` the row's own
    prior, which `standardiser` brings to each column's scale, takes their place.
    """

    columns: npt.NDArray[np.int64]
    constants: Matrix
    is_prior: npt.NDArray[np.bool_]
    standardiser: Standardiser


def cold_values(grains: Sequence[str], standardiser: Standardiser) -> ColdValues:
    """Return the cold values of every used feature of the grains, so that a row can be made to look as if its key was
    never seen."""
    columns = np.cumsum(standardiser.used) - 1
    features = np.array(
        [index for index, feature in enumerate(INPUTS) if feature.grain in grains and standardiser.used[index]],
        np.int64,
    )
    defaults = [INPUTS[index].default for index in features]
    raw = np.array(
        [
            np.nan if default is None else _transform(np.array([float(default)]), INPUTS[index].transform)[0]
            for index, default in zip(features, defaults, strict=True)
        ]
    )
    of_grains = standardiser.of(features)
    is_prior = np.array([default is None for default in defaults], bool)
    return ColdValues(columns[features], of_grains.apply(raw[None])[0], is_prior, of_grains)
