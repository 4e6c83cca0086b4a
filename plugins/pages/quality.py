"""What the data-quality pages show: the grid of checks by day, a day's failures, one check over days, rejected rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy.orm import Session

from include.backfill import plan
from include.errors import MissingDataError
from include.lake import Lake, docs_path
from include.quarantine import rejected
from include.repairs import shown_rejected
from include.row_rules import MEANINGS
from include.schemas import CHECKED, Checked
from plugins.pages.records import RANK, Audited, Check, QualityRecords, Result
from plugins.pages.runs import DAG_ID, Run, latest_runs

Status = Literal["pass", "warning", "fail"]
MOST_DAYS = 400
MOST_BLOCKED = 20
"""Later days that a failure's page names."""
TREND_DAYS = 60
SAMPLES = 5
"""Rejected rows shown for each reason."""


class Filters(BaseModel):
    """Which days and checks the grid shows; `until` is the newest day, today's default the newest with a record."""

    until: date | None = None
    days: int = 14
    stage: Checked | None = None
    table: str | None = None
    severity: Literal["critical", "warning"] | None = None
    status: Status | None = None
    every: bool = False


class GridRow(BaseModel):
    """One check over the days of the grid; `statuses` are in the order of `Grid.days`, None where it did not run."""

    id: str
    stage: Checked
    table: str
    name: str
    column: str | None
    severity: str
    expected: str
    statuses: list[Status | None]


class StageRow(BaseModel):
    """All checks of a stage over the days: the worst status of each day, and how many checks are not listed as they passed."""

    stage: Checked
    statuses: list[Status | None]
    checks: list[GridRow]
    not_listed: int


class Grid(BaseModel):
    """Checks by day, newest day first; `older` says whether there are days before them."""

    days: list[date]
    stages: list[StageRow]
    tables: list[str]
    filters: Filters
    newest: date | None
    older: bool


def grid(records: QualityRecords, filters: Filters) -> Grid:
    """The checks that meet the filters; without one by status, those that did not always pass, unless `every` asks for all."""
    known = sorted({day for stamps in records.stamps().values() for day in stamps}, reverse=True)
    until = [day for day in known if filters.until is None or day <= filters.until]
    days = until[: filters.days]
    audited = records.audited(days)
    stages = [_stage_row(stage, days, audited, filters) for stage in CHECKED if filters.stage in (None, stage)]
    return Grid(
        days=days,
        stages=[row for row in stages if any(row.statuses)],
        tables=sorted({check.table for found in audited.values() for each in found.values() for check in each.results}),
        filters=filters,
        newest=known[0] if known else None,
        older=len(until) > len(days),
    )


def _stage_row(
    stage: Checked, days: list[date], audited: dict[date, dict[Checked, Audited]], filters: Filters
) -> StageRow:
    of_day = [audited.get(day, {}).get(stage) for day in days]
    checks: dict[Check, Result] = {}
    for found in of_day:
        for check, result in found.results.items() if found else ():
            checks.setdefault(check, result)  # in the newest day's words
    wanted = {check: result for check, result in checks.items() if _meets(check, result, filters)}
    statuses = {check: [_status(found, check) for found in of_day] for check in wanted}
    listed = [check for check in wanted if _listed(statuses[check], filters)]
    listed.sort(key=lambda check: [-RANK.get(status or "", -1) for status in statuses[check]])
    return StageRow(
        stage=stage,
        statuses=[_worst(found, wanted) for found in of_day],
        checks=[
            GridRow(
                id=check.id,
                **check._asdict(),
                severity=checks[check].severity,
                expected=checks[check].expected,
                statuses=statuses[check],
            )
            for check in listed
        ],
        not_listed=len(wanted) - len(listed),
    )


def _meets(check: Check, result: Result, filters: Filters) -> bool:
    return filters.table in (None, check.table) and filters.severity in (None, result.severity)


def _listed(statuses: list[Status | None], filters: Filters) -> bool:
    if filters.status:
        return filters.status in statuses
    return filters.every or any(status in ("fail", "warning") for status in statuses)


def _status(found: Audited | None, check: Check) -> Any:
    return found.results[check].status if found and check in found.results else None


def _worst(found: Audited | None, checks: Iterable[Check]) -> Any:
    if found is None:
        return None
    statuses = (found.results[check].status for check in checks if check in found.results)
    return max(statuses, key=RANK.__getitem__, default=None)


class Finding(BaseModel):
    """One check on one day: what was expected and observed, and rows that failed it, as they may be shown.

    `failing_since` is the first of the days in a row, up to this one, on which it did not pass.
    """

    id: str
    stage: Checked
    table: str
    name: str
    column: str | None
    severity: str
    status: Status
    expected: str
    observed: str
    failing_rows: int
    sample: list[dict[str, Any]]
    failing_since: date | None


class StageOfDay(BaseModel):
    """A stage of a day: its latest audit, whether tables of it are published, and of which attempt."""

    stage: Checked
    status: Status | None
    checks: int
    rows: int | None
    published: bool | None
    has_data_docs: bool


class Blocked(BaseModel):
    """A later day that cannot be made, or not up to date, before this one is."""

    day: date
    stages: list[str]


class DayQuality(BaseModel):
    """All that went wrong on a day, on which rows, what it stopped, and how to go on."""

    day: date
    stages: list[StageOfDay]
    findings: list[Finding]
    quarantined: dict[str, int]
    run: Run | None
    stopped_at: Checked | None
    blocked_days: list[Blocked]
    more_blocked: int
    again: str | None


def day_quality(store: Lake, records: QualityRecords, session: Session, day: date) -> DayQuality:
    """The day's findings, those that stop a run first; raises `MissingDataError` where nothing was checked and nothing ran."""
    found = {stage: record for stage in CHECKED if (record := store.record(f"quality/{stage}", day))}
    run = latest_runs(session, [day]).get(day)
    if not found and run is None:
        raise MissingDataError(f"Nothing is known of {day}: no check has run, and {DAG_ID} has no run of it.")
    findings = [
        finding(records, stage, day, check)
        for stage, record in found.items()
        for check in record["checks"]
        if check["status"] != "pass"
    ]
    with_rejected_rows(store, day, findings)
    findings.sort(key=lambda each: (-RANK[each.status], CHECKED.index(each.stage)))
    stopped = next((each.stage for each in findings if each.status == "fail"), None)
    blocked = _blocked(store, day) if stopped else []
    return DayQuality(
        day=day,
        stages=[_stage_of_day(store, stage, day, found.get(stage)) for stage in CHECKED],
        findings=findings,
        quarantined=_quarantined(store, day),
        run=run,
        stopped_at=stopped,
        blocked_days=blocked[:MOST_BLOCKED],
        more_blocked=max(0, len(blocked) - MOST_BLOCKED),
        again=run.again(stopped) if run and stopped else None,
    )


def finding(records: QualityRecords, stage: Checked, day: date, check: dict[str, Any]) -> Finding:
    """One check's record as the pages show it."""
    key = Check(stage, check["table"], check["name"], check["column"])
    return Finding(
        id=key.id,
        stage=stage,
        **{name: check[name] for name in ("table", "name", "column", "severity", "status", "expected", "observed")},
        failing_rows=check["failing_rows"],
        sample=check.get("sample") or [],
        failing_since=_failing_since(records, key, day) if check["status"] != "pass" else None,
    )


def with_rejected_rows(store: Lake, day: date, findings: Iterable[Finding]) -> None:
    """The rows that fail a check of the quarantine are the rejected ones: some of each reason."""
    for each in findings:
        if each.table == "quarantine" and each.status != "pass" and each.failing_rows:
            each.sample = _once(rejected(store, day, samples=SAMPLES).samples, day)


def _once(samples: list[dict[str, Any]], day: date) -> list[dict[str, Any]]:
    """Rejected rows as they may be shown, each once though it was sampled for several reasons."""
    return shown_rejected(list({(row["source_file"], row["source_row"]): row for row in samples}.values()), day)


def _failing_since(records: QualityRecords, check: Check, day: date) -> date:
    """Day by day backwards, as long as the check ran and did not pass."""
    since = day
    for earlier in sorted((each for each in records.stamps()[check.stage] if each < day), reverse=True):
        audited = records.audited([earlier]).get(earlier, {}).get(check.stage)
        if audited is None or check not in audited.results or audited.results[check].status == "pass":
            break
        since = earlier
    return since


def _stage_of_day(store: Lake, stage: Checked, day: date, record: dict[str, Any] | None) -> StageOfDay:
    return StageOfDay(
        stage=stage,
        status=record["status"] if record else None,
        checks=len(record["checks"]) if record else 0,
        rows=record["rows"] if record else None,
        published=None if stage == "model" else store.manifest(stage, day) is not None,
        has_data_docs=store.exists(docs_path(stage, day)),
    )


def _blocked(store: Lake, day: date) -> list[Blocked]:
    """Days after this one that wait for it, by the plan of what has to be redone."""
    waiting: dict[date, list[str]] = {}
    for step in plan(store, [day]):
        if step.day > day:
            waiting.setdefault(step.day, []).append(step.stage)
    return [Blocked(day=each, stages=stages) for each, stages in waiting.items()]


def _quarantined(store: Lake, day: date) -> dict[str, int]:
    """Rejected raw rows by reason, of what is staged if something is, else of what is published."""
    staged = store.staged("logs", day)
    manifest = staged[0] if staged else store.manifest("logs", day)
    reasons = manifest.profile.get("quarantined", {}) if manifest else {}
    return dict(sorted(reasons.items(), key=lambda each: -each[1]))


@dataclass(frozen=True)
class Point:
    """A check's number on one day, with the bounds that it was held against."""

    day: date
    status: str
    observed: str
    failing_rows: int
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
    again: str | None
    has_data_docs: bool


def check_of_day(store: Lake, records: QualityRecords, session: Session, day: date, check_id: str) -> CheckOfDay:
    """Raises `MissingDataError` where the check did not run on that day."""
    for stage in CHECKED:
        record = store.record(f"quality/{stage}", day)
        for each in record["checks"] if record else ():
            key = Check(stage, each["table"], each["name"], each["column"])
            if key.id == check_id:
                run = latest_runs(session, [day]).get(day)
                told = finding(records, stage, day, each)
                with_rejected_rows(store, day, [told])
                return CheckOfDay(
                    day=day,
                    finding=told,
                    unit=(each.get("measure") or {}).get("unit"),
                    trend=_trend(records, key, day),
                    run=run,
                    again=run.again(stage) if run else None,
                    has_data_docs=store.exists(docs_path(stage, day)),
                )
    raise MissingDataError(f"This check did not run on {day}, or goes by another name by now: look at the grid.")


def _trend(records: QualityRecords, check: Check, day: date) -> list[Point]:
    days = sorted(each for each in records.stamps()[check.stage] if each <= day)[-TREND_DAYS:]
    audited = records.audited(days)
    points = []
    for each in days:
        found = audited.get(each, {}).get(check.stage)
        if found and (result := found.results.get(check)):
            measure = result.measure or {}
            numbers = (measure.get(name) for name in ("value", "low", "high"))
            points.append(Point(each, result.status, result.observed, result.failing_rows, *numbers))
    return points


class Quarantine(BaseModel):
    """Raw rows of a day that were rejected: how many for each reason (and what it means), by file, and some of them."""

    day: date
    rows: int
    reasons: dict[str, int]
    meanings: dict[str, str]
    files: dict[str, int]
    reason: str | None
    samples: list[dict[str, Any]]


def quarantine(store: Lake, day: date, reason: str | None) -> Quarantine:
    """Raises `MissingDataError` where the day's logs are neither staged nor published."""
    found = rejected(store, day, reason, samples=SAMPLES)
    return Quarantine(
        day=day,
        rows=found.rows,
        reasons=dict(found.reasons.most_common()),
        meanings={name: MEANINGS.get(name, "") for name in found.reasons},
        files=dict(found.files.most_common(MOST_BLOCKED)),
        reason=reason,
        samples=_once(found.samples, day),
    )
