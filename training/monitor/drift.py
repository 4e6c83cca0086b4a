"""How far a day's values lie from those of the days before: the population stability index (PSI) of a column.

PSI = Σ (now − then) · ln(now / then), of the shares of rows in each bin, then and now; 0 where nothing has moved. It and its
bands (below 0.1 stable, above 0.25 shifted) are from Siddiqi, "Credit Risk Scorecards", Wiley 2006. Chance alone makes it
about (bins − 1) · (1/n + 1/m) (Yurdakul and Naranjo, "Statistical Properties of the Population Stability Index", Journal of
Risk Model Validation 2020), 0.05 for two lots of `MIN_ROWS` in 12 bins: fewer rows are not judged.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.metrics_records import Band, ColumnDrift
from include.settings import Settings
from training.evaluate.metrics import Floats, Integers

MIN_ROWS = 500
"""Rows that each side must have for a PSI."""
BINS = 10
"""Bins of equal share in the reference; missing values and a value that alone fills more than a bin have one of their own."""
FLOOR = 1e-4
"""A smaller share of rows in a bin counts as this much, so that a bin empty on one side does not make the PSI infinite."""


def psi(then: Integers, now: Integers) -> float:
    """Return the PSI of the rows in each bin `[bins]`, in the reference and now; each side must have a row."""
    expected, actual = (np.maximum(rows / rows.sum(), FLOOR) for rows in (then, now))
    return float(((actual - expected) * np.log(actual / expected)).sum())


def band(value: float, settings: Settings) -> Band:
    """Return the band of a PSI, by the bounds of the settings."""
    if value > settings.psi_shifted:
        return "shifted"
    return "moved" if value >= settings.psi_moved else "stable"


def compare(name: str, then: pa.ChunkedArray, now: pa.ChunkedArray, settings: Settings) -> ColumnDrift:
    """Return the drift of a column of numbers or of names; no PSI where either side has fewer than `MIN_ROWS` rows."""
    numbers = _is_number(then.type) or _is_number(now.type)
    before, today = (_numbers(column) if numbers else column for column in (then, now))
    enough = min(len(then), len(now)) >= MIN_ROWS
    value = psi(*(_rows_by_range(before, today) if numbers else _rows_by_name(before, today))) if enough else None
    return ColumnDrift(
        name=name,
        psi=None if value is None else round(value, 6),
        band="insufficient" if value is None else band(value, settings),
        null_then=_missing(before),
        null_now=_missing(today),
        mean_then=_mean(before) if numbers else None,
        mean_now=_mean(today) if numbers else None,
    )


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _numbers(column: pa.ChunkedArray) -> Floats:
    return column.cast(pa.float64()).to_numpy()


def _rows_by_range(then: Floats, now: Floats) -> tuple[Integers, Integers]:
    """Return the rows in each bin: missing, the most frequent value, and deciles of the reference's other values."""
    present = then[~np.isnan(then)]
    values, counts = np.unique(present, return_counts=True)
    frequent = values[counts.argmax()] if counts.max(initial=0) > len(present) / BINS else np.nan
    rest = present[present != frequent]
    inner = np.arange(1, BINS) / BINS
    # Bounds are values that are there, each once: a value that is seen often takes no part in two bins.
    bounds = np.unique(np.quantile(rest, inner, method="inverted_cdf")) if len(rest) else rest

    def rows(column: Floats) -> Integers:
        missing = np.isnan(column)
        most = column == frequent
        others = np.searchsorted(bounds, column[~missing & ~most])
        return np.concatenate([[missing.sum(), most.sum()], np.bincount(others, minlength=len(bounds) + 1)])

    return rows(then), rows(now)


def _rows_by_name(then: pa.ChunkedArray, now: pa.ChunkedArray) -> tuple[Integers, Integers]:
    """Return the rows of each name that either side has; missing is one of them."""
    before, today = (
        {pair["values"]: pair["counts"] for pair in pc.value_counts(column).to_pylist()} for column in (then, now)
    )
    names = [*before, *(name for name in today if name not in before)]
    return np.array([before.get(name, 0) for name in names]), np.array([today.get(name, 0) for name in names])


def _missing(column: Floats | pa.ChunkedArray) -> float | None:
    if not len(column):
        return None
    missing = np.isnan(column).sum() if isinstance(column, np.ndarray) else column.null_count
    return round(float(missing / len(column)), 6)


def _mean(column: Floats) -> float | None:
    finite = column[np.isfinite(column)]
    return round(float(finite.mean()), 6) if len(finite) else None
