"""The figures in the records: metrics of a day's predictions with their intervals, drift, freshness, the gate's outcomes.

As in `include/records.py`, a field with a default may be missing.
"""

from datetime import date
from typing import Any, Literal, NamedTuple

from pydantic import Field

from include.json_model import JsonModel

By = Literal["all", "scene", "small_scenes", "user_level", "item_level", "cell"]
Band = Literal["stable", "moved", "shifted", "insufficient"]


class Interval(NamedTuple):
    """A figure and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float


class Estimate(JsonModel):
    """A figure with its 95 % interval; `value` is None where there are too few rows, as `note` says."""

    value: float | None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    """Standard error, of a change."""
    scenes: list[str] | None = None
    """Of a mean over scenes, those with enough rows."""
    note: str | None = None

    @property
    def interval(self) -> Interval | None:
        """The figure with its bounds; None where there is none."""
        if self.value is None or self.low is None or self.high is None:
            return None
        return Interval(self.value, self.low, self.high)


Estimates = dict[str, Estimate]
"""By name of the metric."""


def value_of(estimates: Estimates | None, metric: str) -> float | None:
    """Return the value of a metric; None where it has none."""
    estimate = estimates.get(metric) if estimates else None
    return estimate.value if estimate else None


class ModelEstimates(JsonModel):
    """The estimates of each model and of the changes between two, by metric; None without usable predictions."""

    candidate: Estimates | None = None
    champion: Estimates | None = None
    baseline: Estimates | None = None
    change: Estimates | None = None
    """Candidate - champion."""
    change_from_anchor: Estimates | None = None
    """Candidate - anchor."""
    change_from_baseline: Estimates | None = None
    """Candidate - baseline."""
    champion_from_baseline: Estimates | None = None
    """Champion - baseline."""


class GroupEstimates(ModelEstimates):
    """The estimates of a group of `n` rows; without a scene or a level, it has rows of all of them."""

    by: By
    scene: str | None
    user_level: str | None
    item_level: str | None
    n: int
    clicks: int
    ctr: Estimate
    alpha: float | None
    """The candidate's mean trust in text."""


class MeanAlpha(JsonModel):
    """The candidate's mean trust in text, in [0, 1]: of all rows, by level, and by `user level/item level`."""

    all: float | None
    user_level: dict[str, float | None]
    item_level: dict[str, float | None]
    cell: dict[str, float | None]


class CalibrationBin(JsonModel):
    """Mean prediction and CTR of rows with similar predictions."""

    predicted: float
    ctr: float
    rows: int


class DayMetrics(JsonModel):
    """The metrics of a day's predictions, by model (`candidate`, `champion`, `anchor`, `baseline`) and of changes between two."""

    rows: int
    clicks: int
    users: int
    resamples: int
    unusable: dict[str, int]
    """By model, predictions that are not numbers in [0, 1]."""
    headline: ModelEstimates
    """Of all rows."""
    groups: list[GroupEstimates]
    small_scenes: list[str] = Field(default_factory=list)
    alpha: MeanAlpha
    calibration: dict[str, dict[str, list[CalibrationBin]]]
    """By model, then `all` and by scene."""

    @property
    def scenes(self) -> dict[str, GroupEstimates]:
        """The group of each scene."""
        return {group.scene: group for group in self.groups if group.by == "scene" and group.scene is not None}

    @property
    def cells(self) -> dict[str, dict[tuple[str, str], GroupEstimates]]:
        """The groups of each scene by user level and item level."""
        cells: dict[str, dict[tuple[str, str], GroupEstimates]] = {}
        for group in self.groups:
            if group.scene is not None and group.user_level is not None and group.item_level is not None:
                cells.setdefault(group.scene, {})[group.user_level, group.item_level] = group
        return cells


class BaselineFit(JsonModel):
    """What the baseline was fitted on; a `note` says why there is none. `parameters` are scikit-learn's, open to change."""

    rows: int | None = None
    clicks: int | None = None
    parameters: dict[str, Any] | None = None
    trees: int | None = None
    seconds: float | None = None
    note: str | None


class OracleAuc(JsonModel):
    """The AUC of the true click probabilities of a generated log: the best possible one; None with one class only."""

    rows: int
    auc: float | None
    scenes: dict[str, float | None]
    scene_mean_auc: float | None
    zero_items: float | None
    """Of items that are new on the day."""


class Figures(JsonModel):
    """The champion's figures on a day: of all rows, and by scene."""

    all: Estimates
    scenes: dict[str, Estimates]


class FigureChange(JsonModel):
    """A figure against those of `days` earlier days: `change` is that from their `mean`.

    `low` to `high` is all that they and their intervals covered; `worse`: there are enough days, and the figure is outside,
    on the worse side.
    """

    days: int
    mean: float
    change: float
    low: float
    high: float
    worse: bool


class FigureChanges(JsonModel):
    """The changes of figures by metric: of all rows, and by scene."""

    all: dict[str, FigureChange]
    scenes: dict[str, dict[str, FigureChange]]


class ColumnDrift(JsonModel):
    """The drift of a column since the reference; means are of numbers only, and all are None without rows."""

    name: str
    psi: float | None
    """None with too few rows."""
    band: Band
    null_then: float | None
    """Share of missing values in the reference."""
    null_now: float | None
    mean_then: float | None
    mean_now: float | None


class Drift(JsonModel):
    """PSI of a day's features, clicks (`label`) and champion's predictions, from the days of the reference."""

    reference: list[date]
    rows_then: int
    rows_now: int
    note: str | None
    """Why nothing is judged."""
    moved_from: float
    shifted_from: float
    features: list[ColumnDrift]
    """Those with the largest PSI first."""
    label: ColumnDrift
    predictions: ColumnDrift


class PublishedUntil(JsonModel):
    """The last published day of a stage, up to the monitored day."""

    last: date | None
    days_behind: int | None


class Freshness(JsonModel):
    """The age of a day's inputs."""

    published: dict[str, PublishedUntil]
    """By stage."""
    model_age_days: int | None
    """Days from the last training row of the champion."""
    raw_arrived_at: str | None
    """Last change of the day's raw files."""
    seconds_since_raw: int | None


class GateOutcomes(JsonModel):
    """The outcomes of the last nights that were allowed to promote, and what they cost."""

    nights: int
    outcomes: dict[str, int]
    """Nights by outcome: `promoted`, or the verdict."""
    blocking: dict[str, int]
    """Nights that a rule blocked, by rule; the most frequent ones."""
    unproven: int
    """Candidates that were kept back, but not proven to be worse than the champion on the day after."""
    cost: float
    """Log loss (nats per row, summed over nights) by which some of these were better."""
