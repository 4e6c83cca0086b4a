"""Runs of `ctr_daily` over log days, through Airflow's own backfill: started, followed with progress, resumed."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median
from typing import Any

from include.airflow_control.airflow_client import AirflowClient
from include.days.runs import DAG_ID, Run
from include.errors import CtrError
from include.settings import get_settings

log = logging.getLogger(__name__)

OnProgress = Callable[[Sequence[date], Mapping[date, Run]], None]
"""Called every two seconds with the days that are followed and the runs that they have so far."""

_BUSY = {"running", "awaiting_input", "up_for_retry", "up_for_reschedule", "deferred"}
_BUSY_SECONDS = 45 * 60  # longer than a task may run
_IDLE_SECONDS = 10 * 60  # longer than Airflow takes to find the tasks of a process that was killed


@dataclass(frozen=True)
class Outcome:
    """How a nightly run ended: its state, wall-clock seconds and the tasks that failed (task id → end of its log)."""

    state: str
    seconds: float
    failures: dict[str, str]


def run_days(
    airflow: AirflowClient,
    days: Sequence[date],
    conf: Mapping[str, Any],
    began: datetime | None = None,
    on_begin: Callable[[datetime], None] = lambda _: None,
    on_progress: OnProgress = lambda _days, _runs: None,
) -> dict[date, Outcome]:
    """Run ascending log days through a backfill of Airflow, wait for them, and return how each ended.

    Runs that are under way, of these days or of an earlier backfill, are finished first and not started again, nor are days
    that were run since `began`, when an earlier call started them. Days of a cancelled backfill are freed. `on_begin` is called
    with the time at which Airflow accepted a backfill.

    Raises:
        CtrError: no run makes progress any more, or Airflow refuses.
    """
    open_days = {day for span in airflow.open_backfills() for day in span}
    span = sorted({*days, *open_days})
    runs = airflow.runs_of_days(span[0], span[-1])
    airflow.free_cancelled(span)
    under_way = [day for day in span if day in runs and _goes_on(runs[day])]
    outcomes: dict[date, Outcome] = {}
    if under_way:
        log.info("Already under way, waiting for: %s", ", ".join(map(str, under_way)))
        outcomes = _follow(airflow, under_way, None, on_progress)
    if began:
        ran = [day for day in days if day not in under_way and day in runs and _is_of(runs[day], began)]
        outcomes |= {day: _outcome(airflow, runs[day]) for day in ran}
    if remaining := [day for day in days if day not in outcomes]:
        since = airflow.backfill(remaining[0], remaining[-1], dict(conf))
        on_begin(since)
        outcomes |= _follow(airflow, [day for day in days if remaining[0] <= day <= remaining[-1]], since, on_progress)
    return {day: outcomes[day] for day in days}


def failure_text(outcomes: Mapping[date, Outcome]) -> str:
    """Return which tasks failed, each with the end of its log; empty where none did."""
    return "\n\n".join(
        f"{day} {task} failed; the end of its log:\n{log}"
        for day, outcome in sorted(outcomes.items())
        for task, log in outcome.failures.items()
    )


def usual_seconds(runs: Mapping[date, Run]) -> float | None:
    """Return the median time of the runs that succeeded; None where none did."""
    seconds = [run.seconds for run in runs.values() if run.state == "success" and run.seconds]
    return median(seconds) if seconds else None


def ended(run: Run) -> bool:
    """Return whether a run has ended, well or not."""
    return run.state in ("success", "failed")


def _goes_on(run: Run) -> bool:
    return not ended(run) and run.hindrance != "cancelled backfill"


def _is_of(run: Run, began: datetime | None) -> bool:
    """Return whether a run was queued since then, or was still under way then, so that Airflow started no other one."""
    return began is None or run.end is None or run.end >= began or (run.queued is not None and run.queued >= began)


def _follow(
    airflow: AirflowClient, days: Sequence[date], began: datetime | None, on_progress: OnProgress
) -> dict[date, Outcome]:
    """Follow the runs that the days have had since `began` until all have ended.

    Raises `CtrError` where no run makes progress any more.
    """
    moved = time.monotonic()
    before: dict[date, Run] = {}
    while True:
        latest = airflow.runs_of_days(days[0], days[-1])
        runs = {day: latest[day] for day in days if day in latest and _is_of(latest[day], began)}
        on_progress(days, runs)
        if len(runs) == len(days) and all(map(ended, runs.values())):
            return {day: _outcome(airflow, run) for day, run in runs.items()}
        if _task_states(runs) != _task_states(before):
            moved = time.monotonic()
        before = runs
        _refuse_standstill(days, runs, time.monotonic() - moved)
        time.sleep(2)


def _task_states(runs: Mapping[date, Run]) -> dict[date, tuple[str, dict[str, str | None]]]:
    return {day: (run.state, {task.task_id: task.state for task in run.tasks}) for day, run in runs.items()}


def _refuse_standstill(days: Sequence[date], runs: Mapping[date, Run], seconds: float) -> None:
    """Raise `CtrError` where nothing has changed for longer than a task, or a person who has to decide, may take."""
    busy = any(task.state in _BUSY for run in runs.values() for task in run.tasks)
    waits = max(get_settings().approval_seconds, get_settings().raw_wait_seconds) if busy else 0
    if seconds > waits + (_BUSY_SECONDS if busy else _IDLE_SECONDS):
        run_states = ", ".join(f"{day} {runs[day].state if day in runs else 'not started'}" for day in days)
        raise CtrError(
            f"No task of {DAG_ID} has changed for {seconds / 60:.0f} minutes: expected its runs to end, "
            f"found {run_states}. Next: look at them in Airflow (`ctr ui`) and at the scheduler's log, "
            "then repeat the command, which resumes."
        )


def _outcome(airflow: AirflowClient, run: Run) -> Outcome:
    failures = {task.task_id: airflow.log_tail(run.run_id, task.task_id, task.tries) for task in run.failed}
    return Outcome(run.state, run.seconds or 0.0, failures)
