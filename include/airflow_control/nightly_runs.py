"""Runs of `ctr_daily` over log days, through Airflow's own backfill: started, followed with progress, resumed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from include.airflow_control.airflow_client import DAG_ID, AirflowClient
from include.console import err, out
from include.days.runs import Run
from include.errors import CtrError
from include.plural import counted
from include.settings import get_settings

PROGRESS = {
    "wait for raw logs": ["validate_parameters", "wait_for_raw"],
    "ingest logs": ["ingest_logs"],
    "check logs": ["check_logs"],
    "build features": ["build_features"],
    "check features": ["check_features"],
    "build training table": ["build_training_table"],
    "audit leakage": ["audit_leakage"],
    "check training table": ["check_training"],
    "embed texts": ["embed_texts"],
    "embed cold items": ["embed_cold"],
    "train": ["train"],
    "evaluate": ["evaluate"],
    "monitor": ["monitor"],
    "gate": ["gate", "decide"],
    "promotion": ["ask_a_person", "promote", "keep_champion"],
    "report": ["report"],
}
_MARKS = {
    "success": ("✔", "green"),
    "failed": ("✘", "bold red"),
    "upstream_failed": ("–", "red"),
    "skipped": ("–", "dim"),
    "running": ("▶", "yellow"),
    "awaiting_input": ("?", "magenta"),
    "up_for_retry": ("↻", "yellow"),
}
_RANK = {
    state: rank
    for rank, state in enumerate(
        [
            "failed",
            "running",
            "awaiting_input",
            "up_for_retry",
            "queued",
            "scheduled",
            "success",
            "upstream_failed",
            "skipped",
        ]
    )
}
_BUSY = {"running", "awaiting_input", "up_for_retry", "up_for_reschedule", "deferred"}
_BUSY_SECONDS = 45 * 60  # longer than a task may run
_IDLE_SECONDS = 10 * 60  # longer than Airflow takes to find the tasks of a process that was killed
_LISTED_DAYS = 6


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
        out.print(Text(f"Already under way, waiting for: {', '.join(map(str, under_way))}", style="bold"))
        outcomes = _follow(airflow, under_way, None)
    if began:
        ran = [day for day in days if day not in under_way and day in runs and _is_of(runs[day], began)]
        outcomes |= {day: _outcome(airflow, runs[day]) for day in ran}
    if remaining := [day for day in days if day not in outcomes]:
        since = airflow.backfill(remaining[0], remaining[-1], dict(conf))
        on_begin(since)
        outcomes |= _follow(airflow, [day for day in days if remaining[0] <= day <= remaining[-1]], since)
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


def _ended(run: Run) -> bool:
    return run.state in ("success", "failed")


def _goes_on(run: Run) -> bool:
    return not _ended(run) and run.hindrance != "cancelled backfill"


def _is_of(run: Run, began: datetime | None) -> bool:
    """Return whether a run was queued since then, or was still under way then, so that Airflow started no other one."""
    return began is None or run.end is None or run.end >= began or (run.queued is not None and run.queued >= began)


def _follow(airflow: AirflowClient, days: Sequence[date], began: datetime | None) -> dict[date, Outcome]:
    """Show the runs that the days have had since `began` until all have ended.

    Raises `CtrError` where no run makes progress any more.
    """
    started = moved = time.monotonic()
    with Live(console=err, refresh_per_second=2, transient=not err.is_terminal) as live:
        seen: dict[tuple[date, str], str] = {}
        last: object = None
        while True:
            latest = airflow.runs_of_days(days[0], days[-1])
            runs = {day: latest[day] for day in days if day in latest and _is_of(latest[day], began)}
            states = {day: _stage_states(run) for day, run in runs.items()}
            live.update(_progress(days, runs, states, time.monotonic() - started))
            _print_changes(states, seen)
            if len(runs) == len(days) and all(map(_ended, runs.values())):
                return {day: _outcome(airflow, run) for day, run in runs.items()}
            now = ({day: run.state for day, run in runs.items()}, states)
            if now != last:
                moved = time.monotonic()
            last = now
            _refuse_standstill(days, *now, time.monotonic() - moved)
            time.sleep(2)


def _refuse_standstill(
    days: Sequence[date], runs: dict[date, str], states: dict[date, dict[str, str]], seconds: float
) -> None:
    """Raise `CtrError` where nothing has changed for longer than a task, or a person who has to decide, may take."""
    busy = any(state in _BUSY for stages in states.values() for state in stages.values())
    waits = max(get_settings().approval_seconds, get_settings().raw_wait_seconds) if busy else 0
    if seconds > waits + (_BUSY_SECONDS if busy else _IDLE_SECONDS):
        run_states = ", ".join(f"{day} {runs.get(day, 'not started')}" for day in days)
        raise CtrError(
            f"No task of {DAG_ID} has changed for {seconds / 60:.0f} minutes: expected its runs to end, "
            f"found {run_states}. Next: look at them in Airflow (`ctr ui`) and at the scheduler's log, "
            "then repeat the command, which resumes."
        )


def _stage_states(run: Run) -> dict[str, str]:
    """Return the state of each line of the progress table: the most important one among its tasks."""
    by_task = {task.task_id: task.state or "" for task in run.tasks}
    return {
        stage: min((by_task.get(task, "") for task in tasks), key=lambda state: _RANK.get(state, len(_RANK)))
        for stage, tasks in PROGRESS.items()
    }


def _progress(
    days: Sequence[date], runs: Mapping[date, Run], states: dict[date, dict[str, str]], seconds: float
) -> Group:
    """Return the progress: days done, time left, and the tasks of the days around the one that is running."""
    ended = [day for day in days if day in runs and _ended(runs[day])]
    line = f"{DAG_ID}  {int(seconds) // 60}:{int(seconds) % 60:02d}  {len(ended)} of {counted(len(days), 'day')} done"
    pace = usual_seconds({day: runs[day] for day in ended})
    if pace and len(ended) < len(days):
        line += f", about {counted(max(1, round(pace * (len(days) - len(ended)) / 60)), 'minute')} left"
    first = max(0, min(len(ended) - 2, len(days) - _LISTED_DAYS))
    listed = days[first : first + _LISTED_DAYS]
    table = Table()
    table.add_column("stage")
    for day in listed:
        table.add_column(str(day), justify="center")
    for stage in PROGRESS:
        marks = [_MARKS.get(states.get(day, {}).get(stage, ""), ("·", "dim")) for day in listed]
        table.add_row(stage, *(Text(mark, style=style) for mark, style in marks))
    return Group(Text(line, style="bold"), table)


def _print_changes(states: dict[date, dict[str, str]], seen: dict[tuple[date, str], str]) -> None:
    """Print a line for each change where there is no terminal."""
    if err.is_terminal:
        return
    for day, stages in states.items():
        for stage, state in stages.items():
            if state in _MARKS and seen.get((day, stage)) != state:
                seen[day, stage] = state
                err.print(Text(f"{day} {stage}: {state}"))


def _outcome(airflow: AirflowClient, run: Run) -> Outcome:
    failures = {task.task_id: airflow.log_tail(run.run_id, task.task_id, task.tries) for task in run.failed}
    return Outcome(run.state, run.seconds or 0.0, failures)
