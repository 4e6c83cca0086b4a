"""The data of the page Models: versions with verdicts, the champion's figures over days, one day's cells and rules."""

from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Any

from pydantic import BaseModel

from include.errors import MissingDataError
from include.lake.lake import Lake, report_path
from include.lake.lenient_lake import LenientLake
from include.lake.model_records import records_of_day, records_of_version
from include.metrics_records import Estimate, GroupEstimates
from include.records import Decision, Monitor, Train
from include.registry import registry
from include.registry.model_version import ModelVersion
from include.schemas import LEVELS
from plugins.pages.planner import Plan

FIGURES = {
    "scene_mean_gauc": "Per-scene mean GAUC",
    "auc": "AUC, all rows",
    "log_loss": "Log loss",
    "pcoc": "PCOC (mean prediction / CTR)",
    "ece": "ECE",
}
"""Figures of the champion over days, with their display names."""


@dataclass(frozen=True)
class DayEstimate:
    """A figure of a day with its 95 % interval; None where the day has too little data."""

    day: date
    value: float | None
    low: float | None
    high: float | None


class VersionLine(BaseModel):
    """One version: its training days, the gate's verdict with reasons, who promoted it or rolled it back."""

    version: int
    log_day: date
    trained_from: date
    trained_through: date
    base_version: int | None
    verdict: str | None
    reasons: list[str]
    state: str
    promoted_at: str | None
    promoted_by: str | None
    rolled_back_at: str | None
    rolled_back_by: str | None
    rolled_back_reason: str | None
    pruned_at: str | None
    has_report: bool
    outdated: list[date]


class Models(BaseModel):
    """The newest versions, and the champion's figures on the monitored days, oldest first.

    `replacement` says what replaces the champion if it is outdated; `damaged` names the records that cannot be read.
    """

    champion: int | None
    rollback_to: int | None
    versions: list[VersionLine]
    older: bool
    figures: dict[str, list[DayEstimate]]
    alerts_of: date | None
    alerts: list[str]
    replacement: str | None
    damaged: list[str]


def models_of(lake: LenientLake, plan: Plan, count: int, days: int) -> Models:
    """Return the `count` newest versions and the last `days` monitored days."""
    versions = registry.versions()
    champion = registry.holder(versions, registry.CHAMPION)
    predecessor = registry.predecessor(versions, champion) if champion else None
    monitored = lake.record_days(Monitor)[-days:]
    records = {day: record for day in monitored if (record := lake.record(Monitor, day))}
    return Models(
        champion=champion.version if champion else None,
        rollback_to=predecessor.version if predecessor and not predecessor.pruned_at else None,
        versions=[_line(lake, version, sorted(plan.outdated.get(version.version, {}))) for version in versions[:count]],
        older=len(versions) > count,
        figures={name: [_estimate(day, record, name) for day, record in records.items()] for name in FIGURES},
        alerts_of=max(records, default=None),
        alerts=records[max(records)].alerts if records else [],
        replacement=str(plan.replacement) if plan.replacement else None,
        damaged=[error.found for error in lake.damaged.values()],
    )


def _line(lake: Lake, version: ModelVersion, outdated: list[date]) -> VersionLine:
    decision = records_of_version(lake, version.log_day, version.version).decision
    training = ("version", "log_day", "trained_from", "trained_through", "base_version", "verdict")
    events = ("promoted_at", "promoted_by", "rolled_back_at", "rolled_back_by", "rolled_back_reason", "pruned_at")
    return VersionLine(
        **{name: getattr(version, name) for name in (*training, *events)},
        reasons=decision.reasons if decision else [],
        state=_state(version, decision),
        has_report=lake.exists(report_path(version.log_day, version.version)),
        outdated=outdated,
    )


def _state(version: ModelVersion, decision: Decision | None) -> str:
    if registry.CHAMPION in version.aliases:
        return "champion"
    if version.rolled_back_at:
        return "rolled back"
    if version.promoted_at:
        return "was champion"
    if not decision:
        return "not judged yet"
    if decision.promoted is None:
        return "not decided yet"
    return f"not promoted, decided by {decision.decided_by}"


def _estimate(day: date, record: Monitor, name: str) -> DayEstimate:
    figures = record.metrics.all if record.metrics else {}
    estimate = figures.get(name, Estimate(value=None))
    return DayEstimate(day, estimate.value, estimate.low, estimate.high)


class Cell(BaseModel):
    """Rows of one user level and item level in a scene; AUC with its interval, None with the reason in `note`."""

    user_level: str
    item_level: str
    rows: int
    clicks: int
    auc: float | None
    low: float | None
    high: float | None
    note: str | None


class ModelOfDay(BaseModel):
    """A candidate of a day: verdict, decision, the sentence of every rule, its figures and the cells of each scene.

    `newest` is the latest version that the day's run has trained.
    """

    day: date
    version: int | None
    newest: int | None
    champion: int | None
    verdict: str | None
    reasons: list[str]
    decided_by: str | None
    decided_at: str | None
    promoted: bool | None
    rules: list[dict[str, Any]]
    headline: dict[str, Any]
    scenes: dict[str, list[Cell]]
    has_report: bool


def model_of_day(lake: Lake, day: date, version: int | None = None) -> ModelOfDay:
    """Return a version of the day, by default the latest one; raises `MissingDataError` where the day has not trained it."""
    records = records_of_day(lake, day) if version is None else records_of_version(lake, day, version)
    evaluation = records.evaluation
    decision = records.decision
    trained = version or records.version
    if trained is None or records.version is None:
        missing = "a model" if version is None else f"version {version}"
        raise MissingDataError(
            f"The run of {day} has not trained {missing}. Data quality and Days show what stopped it."
        )
    newest = lake.record(Train, day)
    return ModelOfDay(
        day=day,
        version=trained,
        newest=newest.version if newest else trained,
        champion=evaluation.champion.version if evaluation and evaluation.champion else None,
        **{name: getattr(decision, name, None) for name in ("verdict", "decided_by", "decided_at", "promoted")},
        reasons=decision.reasons if decision else [],
        rules=[
            {"name": rule.name, "verdict": rule.verdict, "sentence": rule.sentence}
            for rule in (decision.rules if decision else [])
        ],
        headline=evaluation.headline.as_json() if evaluation else {},
        scenes={
            scene: [_cell(*levels, cells[levels]) for levels in product(LEVELS, LEVELS) if levels in cells]
            for scene, cells in (sorted(evaluation.cells.items()) if evaluation else ())
        },
        has_report=lake.exists(report_path(day, trained)),
    )


def _cell(user_level: str, item_level: str, group: GroupEstimates) -> Cell:
    unusable = Estimate(value=None, note="its predictions are not usable")
    auc = group.candidate["auc"] if group.candidate else unusable
    return Cell(
        user_level=user_level,
        item_level=item_level,
        rows=group.n,
        clicks=group.clicks,
        auc=auc.value,
        low=auc.low,
        high=auc.high,
        note=auc.note,
    )
