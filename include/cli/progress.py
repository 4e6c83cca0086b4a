"""Progress of long commands, on standard error: bars, gone when done and absent with `--json`, and the nightly runs.

Nightly runs are a table of days and stages on a terminal, else a line for each change.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TypeVar

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from include.airflow_control.nightly_runs import OnProgress, ended, usual_seconds
from include.console import err
from include.days.runs import DAG_ID, Run
from include.plural import counted

T = TypeVar("T")

LINES = {
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
"""The lines of the table of nightly runs, each of one task of the DAG or several."""
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
_LISTED_DAYS = 6


@contextmanager
def bar(label: str, total: float, *, as_json: bool) -> Iterator[Callable[[float], None]]:
    """Show a bar of `total` units; call the function that it yields with the units done so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=as_json) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def steps(label: str, total: int, *, as_json: bool) -> Iterator[Callable[[T], T]]:
    """Show a bar of `total` steps; pass each step's result through the function that it yields."""
    done = 0

    with bar(label, total, as_json=as_json) as show:

        def step(result: T) -> T:
            nonlocal done
            done += 1
            show(done)
            return result

        yield step


@contextmanager
def nightly_progress() -> Iterator[OnProgress]:
    """Show the runs with which the function that it yields is called, on standard error."""
    started = time.monotonic()
    seen: dict[tuple[date, str], str] = {}
    with Live(console=err, refresh_per_second=2, transient=not err.is_terminal) as live:

        def show(days: Sequence[date], runs: Mapping[date, Run]) -> None:
            states = {day: _stage_states(run) for day, run in runs.items()}
            live.update(_progress(days, runs, states, time.monotonic() - started))
            if not err.is_terminal:
                _print_changes(states, seen)

        yield show


def _stage_states(run: Run) -> dict[str, str]:
    """Return the state of each line of the progress table: the most important one among its tasks."""
    by_task = {task.task_id: task.state or "" for task in run.tasks}
    return {
        stage: min((by_task.get(task, "") for task in tasks), key=lambda state: _RANK.get(state, len(_RANK)))
        for stage, tasks in LINES.items()
    }


def _progress(
    days: Sequence[date], runs: Mapping[date, Run], states: dict[date, dict[str, str]], seconds: float
) -> Group:
    """Return the progress: days done, time left, and the tasks of the days around the one that is running."""
    done = [day for day in days if day in runs and ended(runs[day])]
    line = f"{DAG_ID}  {int(seconds) // 60}:{int(seconds) % 60:02d}  {len(done)} of {counted(len(days), 'day')} done"
    pace = usual_seconds({day: runs[day] for day in done})
    if pace and len(done) < len(days):
        line += f", about {counted(max(1, round(pace * (len(days) - len(done)) / 60)), 'minute')} left"
    first = max(0, min(len(done) - 2, len(days) - _LISTED_DAYS))
    listed = days[first : first + _LISTED_DAYS]
    table = Table()
    table.add_column("stage")
    for day in listed:
        table.add_column(str(day), justify="center")
    for stage in LINES:
        marks = [_MARKS.get(states.get(day, {}).get(stage, ""), ("·", "dim")) for day in listed]
        table.add_row(stage, *(Text(mark, style=style) for mark, style in marks))
    return Group(Text(line, style="bold"), table)


def _print_changes(states: dict[date, dict[str, str]], seen: dict[tuple[date, str], str]) -> None:
    """Print a line for each change where there is no terminal."""
    for day, stages in states.items():
        for stage, state in stages.items():
            if state in _MARKS and seen.get((day, stage)) != state:
                seen[day, stage] = state
                err.print(Text(f"{day} {stage}: {state}"))
