"""What the page of days shows: what is there of each day, what is stale or missing, how its run went, and the plan."""

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
"""Numbers of `day_status` that the page shows, in its order."""


class Redo(BaseModel):
    """A stage of a day that has to be made, or made again, and why; not possible where its raw log is gone."""

    stage: str
    reasons: list[str]
    possible: bool


class DayOfLake(BaseModel):
    """One day; a count is None where that stage is not published, and nothing is to redo of a day that is being run."""

    day: date
    state: DayState
    counts: dict[str, int | None]
    checks: dict[str, int]
    model: int | None
    verdict: str | None
    redo: list[Redo]
    run: Run | None


class Days(BaseModel):
    """Days of the lake, newest first; `plan` names the stages to redo of every day that has any and is not being run, as found
    at `planned_at`, `commands` what does it. `outdated` are the versions that learnt rows which were replaced since,
    `replacement` says what replaces the champion, where that is one of them.
    """

    days: list[DayOfLake]
    newest: date | None
    older: bool
    plan: dict[date, list[str]]
    planned_at: datetime
    commands: list[str]
    outdated: list[int]
    replacement: str | None


def days_of(store: Lake, planner: Planner, session: Session, until: date | None, count: int) -> Days:
    """`count` days up to `until` (the newest known one, if not given)."""
    known = sorted({*known_days(store), *unfinished_days(session)})
    chosen = [day for day in known if until is None or day <= until]
    shown = chosen[::-1][:count]
    plan = planner.plan()
    under_way = days_under_way(session)
    steps: dict[date, list[Redo]] = {}
    for step in plan.steps:
        if step.day not in under_way:
            steps.setdefault(step.day, []).append(
                Redo(stage=step.stage, reasons=list(step.reasons), possible=step.possible)
            )
    runs = latest_runs(session, shown)
    found = states(store, shown, runs, plan.steps)
    return Days(
        days=[_day(day_status(store, day), found[day], steps.get(day, []), runs.get(day)) for day in shown],
        newest=known[-1] if known else None,
        older=len(chosen) > len(shown),
        plan={day: [step.stage for step in found] for day, found in steps.items()},
        planned_at=plan.made_at,
        commands=commands(list(steps), max(store.days("logs"), default=None)) if steps else [],
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
