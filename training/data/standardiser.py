"""Model inputs at zero mean and unit variance, within bounds: a few extreme rows do not change what the other rows read.

Bounds are quantiles of the training window: the median plus and minus a multiple of a high quantile of the distances
from it. Of the values of a column without extremes, almost none lie outside; fewer than 1 in 10 extreme ones hardly
move the bounds. Distances of zero do not count, or a count that is mostly zero would be bounded to its zeros.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from include.schemas import DEEP_FEATURES

Matrix = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
CLIP = 6.0
"""Standardised values are clipped to ± this."""
BULK = 0.9
"""Share of the values apart from the median whose distances set the bounds."""
MARGIN = 5.0
"""Bounds lie this many times as far from the median: 8.2 standard deviations of normal values."""
FEWEST_ROWS = 20
"""Rows apart from the median that make an input vary: from fewer nothing can be learned."""
SAMPLE_ROWS = 100_000
"""Most rows that statistics are computed of; a share of 10 % is then known to 0.1 %."""
_CONSTANT = 1e-6
"""Distance from the median below which a value counts as equal to it."""
_LARGEST = float(np.finfo(np.float32).max)
_FLATTENED = 100.0


@dataclass(frozen=True)
class Standardiser:
    """Statistics of inputs, in the order of `dense.NAMES`.

    `mean`, `scale [features] float32`: the mean, and one over the deviation, of the values within bounds; `scale` is 0 for an
    input that does not vary. `low`, `high [features] float64`: the bounds, infinite in versions that had none. `used
    [features] bool`: the inputs that the network reads.
    """

    mean: Matrix
    scale: Matrix
    low: Doubles
    high: Doubles
    used: npt.NDArray[np.bool_]

    @classmethod
    def fit(cls, values: Doubles) -> "Standardiser":
        """Return the standardiser of transformed values `[rows, features]`, missing where not finite; it uses what varies."""
        statistics = np.array([_statistics(column[np.isfinite(column)]) for column in values.T]).reshape(-1, 4)
        mean, scale, low, high = np.ascontiguousarray(statistics.T)  # safetensors writes other arrays wrongly
        return cls(mean.astype(np.float32), scale.astype(np.float32), low, high, scale > 0)

    @classmethod
    def unbounded(cls, mean: Matrix, scale: Matrix) -> "Standardiser":
        """Return the standardiser of a version saved before there were bounds: it uses every input."""
        return cls(mean, scale, np.full(len(mean), -np.inf), np.full(len(mean), np.inf), np.ones(len(mean), bool))

    @property
    def width(self) -> int:
        """The number of used inputs."""
        return int(self.used.sum())

    @property
    def deep(self) -> slice:
        """The columns of the used deep features in what `apply` returns: its last ones."""
        return slice(self.width - int(self.used[-len(DEEP_FEATURES) :].sum()), self.width)

    @property
    def has_bounds(self) -> bool:
        """Whether it was fitted with bounds."""
        return bool(np.isfinite(self.low).all())

    def with_bounds(self) -> "Standardiser":
        """Return one with bounds that gives the same values: those at which an unbounded one clips."""
        if self.has_bounds:
            return self
        reach = (CLIP + 1e-3) / np.where(self.scale > 0, self.scale, np.inf)
        return replace(self, low=self.mean - reach, high=self.mean + reach)

    def apply(self, values: Doubles) -> Matrix:
        """Return standardised used inputs `[rows, width] float32` of transformed values `[rows, features]`, clipped to
        ± `CLIP`; missing ones are 0, the training mean."""
        used = self.used
        bounded = np.clip(values[:, used], self.low[used], self.high[used])
        standard = np.nan_to_num((bounded - self.mean[used]) * self.scale[used], nan=0.0)
        return np.clip(standard, -CLIP, CLIP).astype(np.float32)

    def of(self, features: npt.NDArray[np.int64]) -> "Standardiser":
        """Return that of some of the features."""
        return Standardiser(*(array[features] for array in vars(self).values()))

    def flattened(self, now: "Standardiser") -> npt.NDArray[np.bool_]:
        """Return `[features] bool`: those whose deviation is more than a hundred times that of the rows of `now`, as extreme
        values make it where there are no bounds."""
        return (self.scale > 0) & (self.scale * _FLATTENED < now.scale)


def _statistics(values: Doubles) -> tuple[float, float, float, float]:
    """Return mean, one over the deviation, and bounds of the present values of an input; (0, 0, 0, 0) without any."""
    if not len(values):
        return 0.0, 0.0, 0.0, 0.0
    held = values.clip(-_LARGEST, _LARGEST)  # so that squares are finite
    median = float(np.quantile(held, 0.5, method="lower"))
    distance = np.abs(held - median)
    apart = distance[distance > _CONSTANT]
    if len(apart) < FEWEST_ROWS:
        return median, 0.0, median, median
    reach = MARGIN * float(np.quantile(apart, BULK, method="lower"))
    inside = held[distance <= reach]
    return float(inside.mean()), 1 / float(inside.std()), median - reach, median + reach
