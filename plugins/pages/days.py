"""The data of the page Days: state, counts and run of each day, and the plan of what to redo."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy.orm import Session

from include.days.backfill_plan import commands
from include.days.day_states import DayState, states
from include.days.day_status import day_status, known_days
from include.days.runs import Run
from include.lake.lake import Lake
from plugins.pages.planner import Planner
from plugins.pages.runs import days_under_way, latest_runs, unfinished_days

COUNTS = ("raw_files", "logs", "quarantined", "users", "items", "training")
"""Numbers of `day_status` on the page, in its order."""


class Redo(BaseModel):
    """A stage of a day that has to be built or rebuilt, and why; not possible where its raw log is gone."""

    stage: str
    reasons: list[str]
    possible: bool


class DayOfLake(BaseModel):
    """One day; a count is None where its stage is not published. A day that is running has nothing to redo."""

    day: date
    state: DayState
    counts: dict[str, int | None]
    checks: dict[str, int]
    model: int | None
    verdict: str | None
    redo: list[Redo]
    run: Run | None


class Days(BaseModel):
    """Days of the lake, newest first.

    `plan` has, as of `planned_at`, the stages to redo of every day that is not running; `commands` redo them. `outdated` are the
    versions trained on rows that were replaced since; `replacement` says what replaces the champion if it is one of them.
    """

    days: list[DayOfLake]
    newest: date | None
    older: bool
    plan: dict[date, list[str]]
    planned_at: datetime
    commands: list[str]
    outdated: list[int]
    replacement: str | None


def days_of(lake: Lake, planner: Planner, session: Session, until: date | None, count: int) -> Days:
    """Return `count` days up to `until` (by default the newest of all)."""
    all_days = sorted({*known_days(lake), *unfinished_days(session)})
    matching = [day for day in all_days if until is None or day <= until]
    page_days = matching[::-1][:count]
    plan = planner.plan()
    under_way = days_under_way(session)
    steps: dict[date, list[Redo]] = {}
    for step in plan.steps:
        if step.day not in under_way:
            steps.setdefault(step.day, []).append(
                Redo(stage=step.stage, reasons=list(step.reasons), possible=step.possible)
            )
    runs = latest_runs(session, page_days)
    day_states = states(lake, page_days, runs, plan.steps)
    return Days(
        days=[_day(day_status(lake, day), day_states[day], steps.get(day, []), runs.get(day)) for day in page_days],
        newest=all_days[-1] if all_days else None,
        older=len(matching) > len(page_days),
        plan={day: [step.stage for step in of_day] for day, of_day in steps.items()},
        planned_at=plan.made_at,
        commands=commands(list(steps), max(lake.days("logs"), default=None)) if steps else [],
        outdated=sorted(plan.outdated),
        replacement=str(plan.replacement) if plan.replacement else None,
    )


def _day(status: dict[str, Any], state: DayState, redo: list[Redo], run: Run | None) -> DayOfLake:
    return DayOfLake(
        day=state.day,
        state=state,
        counts={name: status[name] for name in COUNTS},
        checks=status["checks"],
        model=status["model"],
        verdict=status["verdict"],
        redo=redo,
        run=run,
    )
