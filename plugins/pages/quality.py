"""The grid of the data-quality page: checks by day, and which of them a filter lists."""

from collections.abc import Iterable
from datetime import date
from typing import Any, Literal

from pydantic import BaseModel

from include.stages import CHECKED, Checked
from plugins.pages.records import RANK, Audited, CheckKey, History, Result

Status = Literal["pass", "warning", "fail"]
MOST_DAYS = 400


class Filters(BaseModel):
    """Which days and checks the grid shows; `until` is the newest day, by default the newest with a record."""

    until: date | None = None
    days: int = 14
    stage: Checked | None = None
    table: str | None = None
    severity: Literal["critical", "warning"] | None = None
    status: Status | None = None
    every: bool = False


class NamedCheck(BaseModel):
    """A check with its id, name and expectation."""

    id: str
    stage: Checked
    table: str
    name: str
    column: str | None
    severity: str
    expected: str


class GridRow(NamedCheck):
    """One check over the days of the grid; `statuses` are in the order of `Grid.days`, None where it did not run."""

    statuses: list[Status | None]


class StageRow(BaseModel):
    """All checks of a stage over the days: the worst status of each day, and how many unlisted checks always passed."""

    stage: Checked
    statuses: list[Status | None]
    checks: list[GridRow]
    passed: int


class Grid(BaseModel):
    """Checks by day, newest day first; `older` tells whether there are earlier days."""

    days: list[date]
    stages: list[StageRow]
    tables: list[str]
    filters: Filters
    newest: date | None
    older: bool


def grid(history: History, filters: Filters) -> Grid:
    """Return the checks that meet the filters; unless filtered by status or `every`, only those that did not always pass."""
    recorded = history.days()[::-1]
    matching = [day for day in recorded if filters.until is None or day <= filters.until]
    days = matching[: filters.days]
    audits = {stage: [history.audited(stage, day) for day in days] for stage in CHECKED}
    stages = [_stage_row(stage, by_day, filters) for stage, by_day in audits.items() if filters.stage in (None, stage)]
    tables = {check.table for by_day in audits.values() for audited in by_day if audited for check in audited.results}
    return Grid(
        days=days,
        stages=[row for row in stages if any(row.statuses)],
        tables=sorted(tables),
        filters=filters,
        newest=recorded[0] if recorded else None,
        older=len(matching) > len(days),
    )


def _stage_row(stage: Checked, by_day: list[Audited | None], filters: Filters) -> StageRow:
    checks: dict[CheckKey, Result] = {}
    for audited in by_day:
        for check, result in audited.results.items() if audited else ():
            checks.setdefault(check, result)  # the newest day comes first
    matching = {check: result for check, result in checks.items() if _meets(check, result, filters)}
    statuses = {check: [_status(audited, check) for audited in by_day] for check in matching}
    listed = [check for check in matching if _listed(statuses[check], filters)]
    listed.sort(key=lambda check: [-RANK.get(status or "", -1) for status in statuses[check]])
    return StageRow(
        stage=stage,
        statuses=[_worst(audited, matching) for audited in by_day],
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
        passed=sum(_always_passed(statuses[check]) for check in matching if check not in listed),
    )


def _always_passed(statuses: list[Status | None]) -> bool:
    return set(statuses) <= {"pass", None}


def _meets(check: CheckKey, result: Result, filters: Filters) -> bool:
    return filters.table in (None, check.table) and filters.severity in (None, result.severity)


def _listed(statuses: list[Status | None], filters: Filters) -> bool:
    if filters.status:
        return filters.status in statuses
    return filters.every or not _always_passed(statuses)


def _status(audited: Audited | None, check: CheckKey) -> Any:
    return audited.results[check].status if audited and check in audited.results else None


def _worst(audited: Audited | None, checks: Iterable[CheckKey]) -> Any:
    if audited is None:
        return None
    statuses = (audited.results[check].status for check in checks if check in audited.results)
    return max(statuses, key=RANK.__getitem__, default=None)
