"""The JSON records of the lake: what each kind holds of a log day. They are written and read as these models only.

A field with a default may be missing in records of earlier versions of the code; unknown fields, of later ones, are kept.
Moments are ISO 8601 in UTC; durations are seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar, Literal

from pydantic import Field

from include.checks import Check, Status
from include.json_model import JsonModel
from include.metrics_records import (
    BaselineFit,
    DayMetrics,
    Drift,
    Estimate,
    FigureChanges,
    Figures,
    Freshness,
    GateOutcomes,
    OracleAuc,
)
from include.stages import Checked

Verdict = Literal["promote", "hold", "reject"]
RuleVerdict = Literal["pass", "note", "hold", "reject"]
ChampionStatus = Literal["unseen", "same", "seen"]
Family = Literal["overall", "scenes", "cold"]


class Record(JsonModel):
    """A record of a kind and log day."""

    kind: ClassVar[str]
    day: date

    @property
    def folder(self) -> str:
        """Where the lake keeps records of this kind, under `_records`."""
        return self.kind

    @property
    def about(self) -> int | None:
        """The model version that it is about; the lake keeps such a record under its number too."""
        return None


class Quality(Record):
    """The checks of a stage (or of the model, `build` is then its version), of the latest attempt."""

    kind = "quality"
    stage: Checked
    build: str
    rows: int
    status: Status
    checks: list[Check]
    seconds: dict[str, float] | None = None
    """Of the parts `build` and `audit` of the Spark job."""

    @property
    def folder(self) -> str:
        """Each stage has a folder of its own."""
        return f"{self.kind}/{self.stage}"


class Wait(Record):
    """The last wait for a day's log, written by the DAG's `wait_for_raw`; it decides which notices are still to be sent.

    The log is expected by `due`; the run gives up at `until`. `notified_at`: when a notice said that the log has not come;
    `came_at`: when the log was found complete after all; `gave_up_at`: when the run was skipped without it.
    """

    kind = "wait"
    since: datetime
    due: datetime
    until: datetime
    notified_at: datetime | None = None
    came_at: datetime | None = None
    gave_up_at: datetime | None = None
    waits_for: str = ""
    """What was there at the last look, and what was missing."""


class RawChange(Record):
    """A change of a day's raw files after they were ingested, of which a notice was sent; `digest` is that of the files."""

    kind = "raw_change"
    digest: str
    files: list[str]
    notified_at: datetime


class Run(Record):
    """How a nightly run of the demo ended."""

    kind = "run"
    state: str
    seconds: int


class _Embedding(Record):
    model: str
    """Name of the encoder's cache."""
    texts: int
    cached: int
    encoded: int
    skipped: int
    seconds: float


class EmbedTexts(_Embedding):
    """What `embed_texts` encoded of the texts of the training window."""

    kind = "embed_texts"
    unknown_share: float | None = None
    """Share of tokens that the encoder does not know, of a sample; None where nothing was encoded."""


class EmbedCold(_Embedding):
    """What `embed_cold` encoded of the texts of cold items and users; `share` is that of the day's texts."""

    kind = "embed_cold"
    share: float | None = None


@dataclass(frozen=True)
class CurvePoint:
    """A day of training as predicted before the model learned from it, and the loss while it did; AUC None for one class."""

    day: str
    rows: int
    clicks: int
    auc: float | None
    log_loss: float
    train_loss: float
    seconds: float


class Train(Record):
    """A candidate and what it was trained on: `rows` of `days` days that were new to it."""

    kind = "train"
    model: str
    version: int
    base_version: int | None
    trained_from: date
    trained_through: date
    days: int
    rows: int
    seconds: float
    content_hash: str
    learning_curve: list[CurvePoint]

    @property
    def about(self) -> int:
        """The version that was trained."""
        return self.version


class EvaluatedVersion(JsonModel):
    """A version in an evaluation; `note` says why it cannot be compared."""

    version: int
    log_day: date
    trained_from: date
    trained_through: date
    content_hash: str
    note: str | None = None


class EvaluatedChampion(EvaluatedVersion):
    """The champion, and whether it has seen the day."""

    status: ChampionStatus


class NotPromoted(JsonModel):
    """The last night's candidate that was not promoted, on the rows of this day; `change` of log loss from the champion."""

    version: int
    log_day: date
    verdict: Verdict
    change: Estimate


class Evaluation(Record, DayMetrics):
    """How good the models are on the day's rows, which none of them has seen."""

    kind = "evaluation"
    candidate: EvaluatedVersion
    champion: EvaluatedChampion | None
    anchor: EvaluatedVersion | None = None
    baseline: BaselineFit | None = None
    not_promoted: NotPromoted | None = None
    oracle: OracleAuc | None = None
    created_at: str
    seconds: float

    @property
    def about(self) -> int:
        """The candidate."""
        return self.candidate.version


@dataclass(frozen=True)
class Rule:
    """One rule's outcome; a `note` does not block promotion. `evidence` is of a form of its own for each rule."""

    name: str
    verdict: RuleVerdict
    sentence: str
    evidence: dict[str, Any]


class Anchor(JsonModel):
    """The version with which all nights since are compared; `loss_shown`: they prove a loss."""

    version: int
    log_day: date
    loss_shown: bool


class SinceAnchor(JsonModel):
    """Evidence of a loss since the anchor: a log e-value for each of the gate's tilts."""

    values: tuple[float, ...]
    nights: int


class Comparison(JsonModel):
    """The change of a metric in a group of rows, candidate - other on the same rows; higher is better.

    `candidate`, `other`, `change`, `low`, `high` (95 % interval of the change) and `se` are None where the group has
    too few rows, as `lacks` says. The change of log loss is a share of the other's.
    """

    name: str
    what: str
    family: Family
    clicks: int
    matters: float
    """The smallest loss that matters."""
    candidate: float | None
    other: float | None
    change: float | None
    low: float | None
    high: float | None
    se: float | None
    lacks: str | None
    verdict: RuleVerdict | None = None
    """Of a comparison with the champion, as `sees`."""
    sees: float | None = None
    """The smallest loss that the night detects."""


class TrialService(JsonModel):
    """Measurements of the trial service of a version: it answered `rows` rows of its probe, 0 of a version without one."""

    version: int
    rows: int
    largest_difference: float | None
    """Of a probability from the model's."""
    p50_ms: float | None = None
    """Of a request, as `p99_ms`."""
    p99_ms: float | None = None
    memory_mib: int


class Decision(Record):
    """The gate's verdict on a candidate, and what became of it."""

    kind = "decision"
    verdict: Verdict
    reasons: list[str]
    rules: list[Rule]
    candidate: int
    champion: int | None
    may_promote: bool
    policy: dict[str, Any]
    """The content of the policy's file, which differs between versions of the code."""
    comparisons: list[Comparison] = Field(default_factory=list)
    """With the champion."""
    anchor: Anchor | None = None
    since_anchor: dict[str, SinceAnchor] = Field(default_factory=dict)
    pcoc: dict[str, float] = Field(default_factory=dict)
    """Logarithm of the champion's PCOC, by scene and of `all`."""
    created_at: str
    promoted: bool | None = None
    """None while nothing was decided."""
    decided_by: str | None = None
    decided_at: str | None = None
    refusal: str | None = None
    served: TrialService | None = None
    """Before promotion."""

    @property
    def about(self) -> int:
        """The candidate."""
        return self.candidate


class MonitoredChampion(JsonModel):
    """The champion when the day was evaluated."""

    version: int
    trained_through: date
    status: Literal["unseen", "same", "seen", "not evaluated"]


class Monitor(Record):
    """The champion's figures on the day against earlier ones, drift, freshness, and the outcomes of the gate."""

    kind = "monitor"
    rows: int
    champion: MonitoredChampion | None
    metrics: Figures | None
    metrics_note: str | None
    """Why there are no metrics."""
    change: FigureChanges | None
    drift: Drift
    gate: GateOutcomes | None = None
    freshness: Freshness
    created_at: str
    alerts: list[str]
    seconds: float


class Score(Record):
    """The scores of a day's rows, at `path`; `seen`: the model was trained on the day."""

    kind = "score"
    version: int
    seen: bool
    rows: int
    unknown_scenes: int
    mean: float | None
    path: str


KINDS: Mapping[str, type[Record]] = {
    kind.kind: kind
    for kind in (Quality, Wait, RawChange, Run, EmbedTexts, EmbedCold, Train, Evaluation, Decision, Monitor, Score)
}
"""In the order in which a night writes them."""
