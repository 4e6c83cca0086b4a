"""What the page of days shows: what is there of each day, what is stale or missing, how its run went, and the plan."""

from datetime import date
from typing import Any

from pydantic import BaseModel
from sqlalchemy.orm import Session

from include.backfill import commands, plan
from include.day_status import day_status, known_days
from include.lake import Lake
from plugins.pages.runs import Run, latest_runs

COUNTS = ("raw_files", "logs", "quarantined", "users", "items", "training")
"""Numbers of `day_status` that the page shows, in its order."""


class Redo(BaseModel):
    """A stage of a day that has to be made, or made again, and why; not possible where its raw log is gone."""

    stage: str
    reasons: list[str]
    possible: bool


class DayOfLake(BaseModel):
    """One day; a count is None where that stage is not published."""

    day: date
    counts: dict[str, int | None]
    checks: dict[str, int]
    model: int | None
    verdict: str | None
    redo: list[Redo]
    run: Run | None


class Days(BaseModel):
    """Days of the lake, newest first; `plan` names the stages to redo of every day that has any, `commands` what does it."""

    days: list[DayOfLake]
    newest: date | None
    older: bool
    plan: dict[date, list[str]]
    commands: list[str]


def days_of(store: Lake, session: Session, until: date | None, count: int) -> Days:
    """`count` days up to `until` (the newest known one, if not given)."""
    known = known_days(store)
    chosen = [day for day in known if until is None or day <= until]
    shown = chosen[::-1][:count]
    steps: dict[date, list[Redo]] = {}
    for step in plan(store):
        steps.setdefault(step.day, []).append(
            Redo(stage=step.stage, reasons=list(step.reasons), possible=step.possible)
        )
    runs = latest_runs(session, shown)
    return Days(
        days=[_day(day_status(store, day), day, steps.get(day, []), runs.get(day)) for day in shown],
        newest=known[-1] if known else None,
        older=len(chosen) > len(shown),
        plan={day: [step.stage for step in found] for day, found in steps.items()},
        commands=commands(list(steps), max(store.days("logs"), default=None)) if steps else [],
    )


def _day(status: dict[str, Any], day: date, redo: list[Redo], run: Run | None) -> DayOfLake:
    return DayOfLake(
        day=day,
        counts={name: status[name] for name in COUNTS},
        checks=status["checks"],
        model=status["model"],
        verdict=status["verdict"],
        redo=redo,
        run=run,
    )
