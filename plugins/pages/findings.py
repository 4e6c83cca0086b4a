"""The data-quality pages of a day and of a check: failures with sample rows, trends, and rejected rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy.orm import Session

from include.checks import Check
from include.days.backfill_plan import Redo, dependents
from include.days.day_states import DayState, states
from include.days.day_status import log_days
from include.days.runs import DAG_ID, Run
from include.errors import CtrError, MissingDataError
from include.lake.lake import Lake, docs_path
from include.lake.lenient_lake import LenientLake
from include.lake.manifest import Manifest
from include.quality.quarantine import files_read, rejected
from include.quality.rejected_values import REPAIR_DOCS, Values, repair_entries, values_at_fault
from include.quality.repairs import masked_rejected
from include.raw.row_rules import MEANINGS, UNKNOWN_SCENE, refuse_unknown_reason
from include.records import Quality, Wait
from include.stages import CHECKED, Checked
from plugins.pages.quality import NamedCheck, Status
from plugins.pages.records import RANK, CheckKey, History
from plugins.pages.runs import latest_runs

Published = Literal["published", "an earlier attempt is published", "not published"]
MOST_BLOCKED = 20
"""Later days that the page of a failure lists."""
MOST_FILES = 40
TREND_DAYS = 60
SAMPLES = 5
_REASONS = {"expect_known_scenes": UNKNOWN_SCENE}
"""The reason of the rows that a check of the quarantine counts, where it is one."""
"""Rejected rows shown for each reason."""


class Finding(NamedCheck):
    """One check on one day: expected and observed values, and a masked sample of rows that failed it.

    `failing_since` is the first day of the unbroken series, up to this day, of runs that did not pass; `sample_note` says why a
    sample is missing; `failing_rows` is None where the table as a whole is at fault.
    """

    status: Status
    observed: str
    failing_rows: int | None
    sample: list[dict[str, Any]]
    sample_note: str | None = None
    failing_since: date | None


class StageOfDay(BaseModel):
    """A stage of a day: its latest audit, and whether the tables of that attempt, or of an earlier one, are published."""

    stage: Checked
    status: Status | None
    checks: int
    rows: int | None
    published: Published | None
    has_data_docs: bool


class Blocked(BaseModel):
    """A later day that cannot be built, or updated, before this one."""

    day: date
    stages: list[str]


class DayQuality(BaseModel):
    """The state of a day, its failed checks with sample rows, and what they block."""

    day: date
    state: DayState
    stages: list[StageOfDay]
    findings: list[Finding]
    quarantined: dict[str, int]
    run: Run | None
    stopped_at: Checked | None
    blocked_days: list[Blocked]
    more_blocked: int


def day_quality(
    lake: LenientLake, history: History, session: Session, day: date, plan: Iterable[Redo] = ()
) -> DayQuality:
    """Return the day's state and findings, those that stop a run first; `plan` is what has to be redone in the whole lake.

    Raises `MissingDataError` where nothing was checked, nothing ran and no run has waited for the log.
    """
    records = {stage: record for stage in CHECKED if (record := lake.quality(stage, day))}
    findings = [
        _finding(history, stage, day, check)
        for stage, record in records.items()
        for check in record.checks
        if check.status != "pass"
    ]
    for finding in findings:
        _add_rejected_rows(lake, day, finding)
    findings.sort(key=lambda finding: (-RANK[finding.status], CHECKED.index(finding.stage)))
    stopped = next((finding.stage for finding in findings if finding.status == "fail"), None)
    run = latest_runs(session, [day]).get(day)
    if not records and run is None and lake.record(Wait, day) is None and not lake.damaged:
        raise MissingDataError(f"There is no data of {day}: no check has run, and {DAG_ID} has no run of it.")
    blocked = _blocked(lake, stopped, day) if stopped else []
    return DayQuality(
        day=day,
        state=states(lake, [day], {day: run} if run else {}, plan)[day],
        stages=[_stage_of_day(lake, stage, day, records.get(stage)) for stage in CHECKED],
        findings=findings,
        quarantined=_quarantined(lake, day),
        run=run,
        stopped_at=stopped,
        blocked_days=blocked[:MOST_BLOCKED],
        more_blocked=max(0, len(blocked) - MOST_BLOCKED),
    )


def _finding(history: History, stage: Checked, day: date, check: Check) -> Finding:
    """Return one check's record as a finding."""
    key = CheckKey(stage, check.table, check.name, check.column)
    return Finding(
        id=key.id,
        stage=stage,
        **{
            name: getattr(check, name)
            for name in ("table", "name", "column", "severity", "status", "expected", "observed")
        },
        failing_rows=check.failing_rows,
        sample=check.sample,
        failing_since=_failing_since(history, key, day) if check.status != "pass" else None,
    )


def _add_rejected_rows(lake: Lake, day: date, finding: Finding) -> None:
    """Add rejected rows, some of each reason, as the sample of a failed check of the quarantine."""
    if finding.table == "quarantine" and finding.status != "pass" and finding.failing_rows:
        try:
            reason = _REASONS.get(finding.name)
            finding.sample = _masked_samples(rejected(lake, day, reason, samples=SAMPLES).samples, day)
        except (CtrError, FileNotFoundError) as error:  # published or rebuilt since
            finding.sample_note = f"The rejected rows are not available: {error}"


def _masked_samples(samples: list[dict[str, Any]], day: date) -> list[dict[str, Any]]:
    """Return rejected rows masked, each once even if it was sampled for several reasons."""
    return masked_rejected(list({(row["source_file"], row["source_row"]): row for row in samples}.values()), day)


def _failing_since(history: History, check: CheckKey, day: date) -> date:
    """Return the first day of the unbroken series of checked days, up to this one, on which the check did not pass."""
    since = day
    for earlier in reversed([checked for checked in history.days(check.stage) if checked < day]):
        audited = history.audited(check.stage, earlier)
        if audited is None or check not in audited.results or audited.results[check].status == "pass":
            break
        since = earlier
    return since


def _stage_of_day(lake: Lake, stage: Checked, day: date, record: Quality | None) -> StageOfDay:
    return StageOfDay(
        stage=stage,
        status=record.status if record else None,
        checks=len(record.checks) if record else 0,
        rows=record.rows if record else None,
        published=None if stage == "model" else _published(lake.manifest(stage, day), record),
        has_data_docs=lake.exists(docs_path(stage, day)),
    )


def _published(manifest: Manifest | None, record: Quality | None) -> Published:
    if manifest is None:
        return "not published"
    return "published" if record is None or manifest.build == record.build else "an earlier attempt is published"


def _blocked(lake: Lake, stage: Checked, day: date) -> list[Blocked]:
    """Return the later days whose tables are built from what failed."""
    days = log_days(lake)
    if not days or stage == "model":
        return []
    blocked: dict[date, list[str]] = {}
    for later_stage, later_day in dependents(stage, day, days[0], days[-1]):
        if later_day > day:
            blocked.setdefault(later_day, []).append(later_stage)
    return [Blocked(day=later_day, stages=stages) for later_day, stages in blocked.items()]


def _quarantined(lake: Lake, day: date) -> dict[str, int]:
    """Return rejected raw rows by reason, of the staged build if there is one, else of the published one."""
    staged = lake.staged("logs", day)
    manifest = staged[0] if staged else lake.manifest("logs", day)
    reasons = manifest.profile.get("quarantined", {}) if manifest else {}
    return dict(sorted(reasons.items(), key=lambda entry: -entry[1]))


@dataclass(frozen=True)
class Point:
    """A check's value on one day, with its bounds."""

    day: date
    status: str
    observed: str
    failing_rows: int | None
    value: float | None
    low: float | None
    high: float | None


class CheckOfDay(BaseModel):
    """One check on one day, and its trend over the days up to it, oldest first."""

    day: date
    finding: Finding
    unit: str | None
    trend: list[Point]
    run: Run | None
    has_data_docs: bool


def check_of_day(lake: Lake, history: History, session: Session, day: date, check_id: str) -> CheckOfDay:
    """Return one check of a day with its trend; raises `MissingDataError` where it did not run on that day."""
    for stage in CHECKED:
        record = lake.quality(stage, day)
        for check in record.checks if record else ():
            key = CheckKey(stage, check.table, check.name, check.column)
            if key.id == check_id:
                finding = _finding(history, stage, day, check)
                _add_rejected_rows(lake, day, finding)
                run = latest_runs(session, [day]).get(day)
                return CheckOfDay(
                    day=day,
                    finding=finding,
                    unit=check.measure.unit if check.measure else None,
                    trend=_trend(history, key, day),
                    run=run,
                    has_data_docs=lake.exists(docs_path(stage, day)),
                )
    raise MissingDataError(f"This check did not run on {day}, or was renamed since. Look for it in the grid.")


def _trend(history: History, check: CheckKey, day: date) -> list[Point]:
    points = []
    for past in [checked for checked in history.days(check.stage) if checked <= day][-TREND_DAYS:]:
        audited = history.audited(check.stage, past)
        if audited and (result := audited.results.get(check)):
            numbers = (getattr(result.measure, name, None) for name in ("value", "low", "high"))
            points.append(Point(past, result.status, result.observed, result.failing_rows, *numbers))
    return points


class Quarantine(BaseModel):
    """Rejected raw rows of a day: counts by reason (with its meaning), by value at fault and by file, and sample rows.

    `repair` is a template of a repair file for these values, whose form `repair_docs` describes.
    """

    day: date
    rows: int
    reasons: dict[str, int]
    meanings: dict[str, str]
    values: dict[str, Values]
    repair: str
    repair_docs: str
    files: list[dict[str, Any]]
    more_files: int
    reason: str | None
    samples: list[dict[str, Any]]


def quarantine(lake: Lake, day: date, reason: str | None) -> Quarantine:
    """Return the rejected rows of a day, of one `reason` or of all.

    Raises `MissingDataError` where the day's logs are neither staged nor published, `InvalidInputError` for an unknown reason.
    """
    refuse_unknown_reason(reason)
    rows = rejected(lake, day, reason, samples=SAMPLES)
    values = values_at_fault(lake, day, reason) if rows.rows else {}
    files = files_read(lake, day, rows.files)
    return Quarantine(
        day=day,
        rows=rows.rows,
        reasons=dict(rows.reasons.most_common()),
        meanings={name: MEANINGS.get(name, "") for name in rows.reasons},
        values=values,
        repair=repair_entries(values),
        repair_docs=REPAIR_DOCS,
        files=files[:MOST_FILES],
        more_files=max(0, len(files) - MOST_FILES),
        reason=reason,
        samples=_masked_samples(rows.samples, day),
    )
