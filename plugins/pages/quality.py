"""What the data-quality pages show: the grid of checks by day, a day's failures, one check over days, rejected rows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy.orm import Session

from include.days.backfill_plan import Redo, dependents
from include.days.day_states import DayState, states
from include.days.day_status import log_days
from include.days.runs import DAG_ID, Run
from include.days.waits import wait_of
from include.errors import CtrError, MissingDataError
from include.lake.lake import Lake, docs_path
from include.lake.manifest import Manifest
from include.quality.quarantine import rejected
from include.quality.rejected_values import REPAIR_DOCS, Values, repair_entries, values_at_fault
from include.quality.repairs import masked_rejected
from include.raw.row_rules import MEANINGS, refuse_unknown_reason
from include.stages import CHECKED, Checked
from plugins.pages.records import RANK, Audited, Check, History, Result
from plugins.pages.runs import latest_runs

Status = Literal["pass", "warning", "fail"]
Published = Literal["published", "an earlier attempt is published", "not published"]
MOST_DAYS = 400
MOST_BLOCKED = 20
"""Later days that a failure's page names."""
MOST_FILES = 40
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


class Named(BaseModel):
    """A check as the pages name it."""

    id: str
    stage: Checked
    table: str
    name: str
    column: str | None
    severity: str
    expected: str


class GridRow(Named):
    """One check over the days of the grid; `statuses` are in the order of `Grid.days`, None where it did not run."""

    statuses: list[Status | None]


class StageRow(BaseModel):
    """All checks of a stage over the days: the worst status of each day, and how many are not listed that always passed."""

    stage: Checked
    statuses: list[Status | None]
    checks: list[GridRow]
    passed: int


class Grid(BaseModel):
    """Checks by day, newest day first; `older` says whether there are days before them."""

    days: list[date]
    stages: list[StageRow]
    tables: list[str]
    filters: Filters
    newest: date | None
    older: bool


def grid(history: History, filters: Filters) -> Grid:
    """The checks that meet the filters; without one by status, those that did not always pass, unless `every` asks for all."""
    known = history.days()[::-1]
    until = [day for day in known if filters.until is None or day <= filters.until]
    days = until[: filters.days]
    of_stages = {stage: [history.audited(stage, day) for day in days] for stage in CHECKED}
    stages = [_stage_row(stage, found, filters) for stage, found in of_stages.items() if filters.stage in (None, stage)]
    tables = {check.table for of_day in of_stages.values() for found in of_day if found for check in found.results}
    return Grid(
        days=days,
        stages=[row for row in stages if any(row.statuses)],
        tables=sorted(tables),
        filters=filters,
        newest=known[0] if known else None,
        older=len(until) > len(days),
    )


def _stage_row(stage: Checked, of_day: list[Audited | None], filters: Filters) -> StageRow:
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
        passed=sum(_always_passed(statuses[check]) for check in wanted if check not in listed),
    )


def _always_passed(statuses: list[Status | None]) -> bool:
    return set(statuses) <= {"pass", None}


def _meets(check: Check, result: Result, filters: Filters) -> bool:
    return filters.table in (None, check.table) and filters.severity in (None, result.severity)


def _listed(statuses: list[Status | None], filters: Filters) -> bool:
    if filters.status:
        return filters.status in statuses
    return filters.every or not _always_passed(statuses)


def _status(found: Audited | None, check: Check) -> Any:
    return found.results[check].status if found and check in found.results else None


def _worst(found: Audited | None, checks: Iterable[Check]) -> Any:
    if found is None:
        return None
    statuses = (found.results[check].status for check in checks if check in found.results)
    return max(statuses, key=RANK.__getitem__, default=None)


class Finding(Named):
    """One check on one day: what was expected and observed, and rows that failed it, as they may be shown.

    `failing_since` is the first of those days in a row on which it ran and did not pass, up to this one; `sample_note` says why
    there is no sample where there should be one; `failing_rows` is None where the table as a whole is at fault.
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
    """A later day that cannot be made, or not up to date, before this one is."""

    day: date
    stages: list[str]


class DayQuality(BaseModel):
    """The state of a day, all that went wrong on it, on which rows, what it stopped, and how to go on."""

    day: date
    state: DayState
    stages: list[StageOfDay]
    findings: list[Finding]
    quarantined: dict[str, int]
    run: Run | None
    stopped_at: Checked | None
    blocked_days: list[Blocked]
    more_blocked: int


def day_quality(store: Lake, history: History, session: Session, day: date, plan: Iterable[Redo] = ()) -> DayQuality:
    """The day's state and findings, those that stop a run first; `plan` is what has to be redone in the whole lake.

    Raises `MissingDataError` where nothing was checked, nothing ran and no run has waited for the log.
    """
    found = {stage: record for stage in CHECKED if (record := store.record(f"quality/{stage}", day))}
    findings = [
        _finding(history, stage, day, check)
        for stage, record in found.items()
        for check in record["checks"]
        if check["status"] != "pass"
    ]
    for each in findings:
        _add_rejected_rows(store, day, each)
    findings.sort(key=lambda each: (-RANK[each.status], CHECKED.index(each.stage)))
    stopped = next((each.stage for each in findings if each.status == "fail"), None)
    run = latest_runs(session, [day]).get(day)
    if not found and run is None and wait_of(store, day) is None:
        raise MissingDataError(f"Nothing is known of {day}: no check has run, and {DAG_ID} has no run of it.")
    blocked = _blocked(store, stopped, day) if stopped else []
    return DayQuality(
        day=day,
        state=states(store, [day], {day: run} if run else {}, plan)[day],
        stages=[_stage_of_day(store, stage, day, found.get(stage)) for stage in CHECKED],
        findings=findings,
        quarantined=_quarantined(store, day),
        run=run,
        stopped_at=stopped,
        blocked_days=blocked[:MOST_BLOCKED],
        more_blocked=max(0, len(blocked) - MOST_BLOCKED),
    )


def _finding(history: History, stage: Checked, day: date, check: dict[str, Any]) -> Finding:
    """One check's record as the pages show it."""
    key = Check(stage, check["table"], check["name"], check["column"])
    return Finding(
        id=key.id,
        stage=stage,
        **{name: check[name] for name in ("table", "name", "column", "severity", "status", "expected", "observed")},
        failing_rows=check["failing_rows"],
        sample=check.get("sample") or [],
        failing_since=_failing_since(history, key, day) if check["status"] != "pass" else None,
    )


def _add_rejected_rows(store: Lake, day: date, found: Finding) -> None:
    """The rows that fail a check of the quarantine are the rejected ones: some of each reason."""
    if found.table == "quarantine" and found.status != "pass" and found.failing_rows:
        try:
            found.sample = _once(rejected(store, day, samples=SAMPLES).samples, day)
        except (CtrError, FileNotFoundError) as error:  # they have been published, or made again, since
            found.sample_note = f"The rejected rows cannot be shown: {error}"


def _once(samples: list[dict[str, Any]], day: date) -> list[dict[str, Any]]:
    """Rejected rows as they may be shown, each once though it was sampled for several reasons."""
    return masked_rejected(list({(row["source_file"], row["source_row"]): row for row in samples}.values()), day)


def _failing_since(history: History, check: Check, day: date) -> date:
    """Backwards over the days on which the stage was checked, as long as the check did not pass."""
    since = day
    for earlier in reversed([each for each in history.days(check.stage) if each < day]):
        audited = history.audited(check.stage, earlier)
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
        published=None if stage == "model" else _published(store.manifest(stage, day), record),
        has_data_docs=store.exists(docs_path(stage, day)),
    )


def _published(manifest: Manifest | None, record: dict[str, Any] | None) -> Published:
    if manifest is None:
        return "not published"
    return "published" if record is None or manifest.build == record["build"] else "an earlier attempt is published"


def _blocked(store: Lake, stage: Checked, day: date) -> list[Blocked]:
    """Days after this one whose tables are made from what failed."""
    known = log_days(store)
    waiting: dict[date, list[str]] = {}
    for later, each in dependents(stage, day, known[0], known[-1]) if known and stage != "model" else ():
        if each > day:
            waiting.setdefault(each, []).append(later)
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


def check_of_day(store: Lake, history: History, session: Session, day: date, check_id: str) -> CheckOfDay:
    """Raises `MissingDataError` where the check did not run on that day."""
    for stage in CHECKED:
        record = store.record(f"quality/{stage}", day)
        for each in record["checks"] if record else ():
            key = Check(stage, each["table"], each["name"], each["column"])
            if key.id == check_id:
                told = _finding(history, stage, day, each)
                _add_rejected_rows(store, day, told)
                run = latest_runs(session, [day]).get(day)
                return CheckOfDay(
                    day=day,
                    finding=told,
                    unit=(each.get("measure") or {}).get("unit"),
                    trend=_trend(history, key, day),
                    run=run,
                    has_data_docs=store.exists(docs_path(stage, day)),
                )
    raise MissingDataError(f"This check did not run on {day}, or goes by another name by now: look at the grid.")


def _trend(history: History, check: Check, day: date) -> list[Point]:
    points = []
    for each in [known for known in history.days(check.stage) if known <= day][-TREND_DAYS:]:
        found = history.audited(check.stage, each)
        if found and (result := found.results.get(check)):
            measure = result.measure or {}
            numbers = (measure.get(name) for name in ("value", "low", "high"))
            points.append(Point(each, result.status, result.observed, result.failing_rows, *numbers))
    return points


class Quarantine(BaseModel):
    """Raw rows of a day that were rejected: how many for each reason (and what it means), for which values, by file, and some
    of them; `repair` is what a repair file may say of the values, its form described in `repair_docs`.
    """

    day: date
    rows: int
    reasons: dict[str, int]
    meanings: dict[str, str]
    values: dict[str, Values]
    repair: str
    repair_docs: str
    files: dict[str, int]
    more_files: int
    reason: str | None
    samples: list[dict[str, Any]]


def quarantine(store: Lake, day: date, reason: str | None) -> Quarantine:
    """Raises `MissingDataError` where the day's logs are neither staged nor published, `InvalidInputError` for no reason."""
    refuse_unknown_reason(reason)
    found = rejected(store, day, reason, samples=SAMPLES)
    values = values_at_fault(store, day, reason) if found.rows else {}
    return Quarantine(
        day=day,
        rows=found.rows,
        reasons=dict(found.reasons.most_common()),
        meanings={name: MEANINGS.get(name, "") for name in found.reasons},
        values=values,
        repair=repair_entries(values),
        repair_docs=REPAIR_DOCS,
        files=dict(found.files.most_common(MOST_FILES)),
        more_files=max(0, len(found.files) - MOST_FILES),
        reason=reason,
        samples=_once(found.samples, day),
    )
