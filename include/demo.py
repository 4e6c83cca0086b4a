"""The demo: real logs, a history load, and the last days run by a real Airflow, with progress a person can watch."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from include import airflow_local
from include.airflow_client import DAG_ID, AirflowClient
from include.calendar import log_day
from include.console import err, out
from include.errors import CtrError, MissingDataError
from include.lake import Lake, lake
from include.model_records import records_of_day
from include.schemas import STAGES
from include.settings import PROJECT, settings

FIRST_DAY = date(2023, 7, 10)
DAYS = 10
NIGHTLY_DAYS = 3
ROWS_PER_DAY = 20_000

# What a log of this size needs to differ in from production; written to {home}/settings.env, where every command finds it.
_SMALL_LOG = {
    "CTR_GATE_POLICY": str(PROJECT / "include/policies/gate-small.yaml"),
    "CTR_RAW_WAIT_SECONDS": "0",
    "CTR_APPROVAL_SECONDS": "60",
    "CTR_LLM_MAX_TEXTS": "200",
}

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


@dataclass(frozen=True)
class Outcome:
    """How a nightly run ended: its state, wall-clock seconds and the tasks that failed (task id → end of its log)."""

    state: str
    seconds: float
    failures: dict[str, str]


def use_small_log_settings(extra: dict[str, str]) -> None:
    """Writes the home's settings file, once, so that every later command and Airflow see the same settings."""
    path = settings().home / "settings.env"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}={value}\n" for name, value in {**_SMALL_LOG, **extra}.items()))
        settings.cache_clear()


def ctr(*arguments: str) -> None:
    """Runs another `ctr` command as a person would; raises `CtrError` if it fails."""
    out.print(Text("$ ctr " + " ".join(arguments), style="bold"))
    command = [sys.executable, "-c", "from include.cli import app; app()", *arguments]
    if subprocess.run(command, env={**os.environ, "CTR_HOME": str(settings().home)}).returncode:
        raise CtrError(f"`ctr {' '.join(arguments)}` failed: its message is above.")


def load_history(days: list[date]) -> None:
    """Loads the days that are not published yet, in one Spark submit."""
    missing = [day for day in days if lake().manifest("training", day) is None]
    if missing:
        ctr("history", "--from", str(missing[0]), "--to", str(missing[-1]))


def nightly(days: list[date], promote: str = "yes") -> dict[date, Outcome]:
    """Runs days through a real Airflow backfill, again where they have run before, and returns how each ended.

    Runs that an earlier call has left unfinished come to their end first, and are not begun anew.
    """
    out.print(Text(f"Nightly runs of {days[0]} to {days[-1]}, as a backfill in Airflow", style="bold"))
    with airflow_local.connected() as airflow:
        outcomes = _finish_earlier(airflow)
        if left := [day for day in days if day not in outcomes]:
            before = {run["dag_run_id"]: run["queued_at"] for run in airflow.runs()}
            airflow.backfill(left[0], left[-1], {"promote": promote})
            airflow.unpause()
            outcomes |= _watch(airflow, left, before)
        return {day: outcomes[day] for day in days}


def _finish_earlier(airflow: AirflowClient) -> dict[date, Outcome]:
    """Lets the unfinished runs of an earlier call go on, and returns how they ended; Airflow takes no backfill beside them.

    Those of a cancelled backfill would never start: they are freed for the next one.
    """
    unfinished = _runs_by_day(airflow.runs("queued", "running"))
    freed = airflow.free_cancelled(unfinished.keys())
    days = sorted(day for day, run in unfinished.items() if run["dag_run_id"] not in freed)
    if not days:
        return {}
    out.print(Text(f"An earlier call was stopped: its runs of {', '.join(map(str, days))} go on", style="bold"))
    airflow.unpause()
    return _watch(airflow, days, {})


def _watch(airflow: AirflowClient, days: list[date], before: dict[str, str | None]) -> dict[date, Outcome]:
    """Shows the runs until all have ended; `before` tells when runs that existed were queued, so that only new tries count.

    Raises `CtrError` where nothing moves any more.
    """
    began = moved = time.monotonic()
    with Live(console=err, refresh_per_second=2, transient=not err.is_terminal) as live:
        seen: dict[tuple[date, str], str] = {}
        last: object = None
        while True:
            found = {day: run for day, run in _runs_by_day(airflow.runs()).items() if day in days}
            runs = {day: run for day, run in found.items() if run["queued_at"] != before.get(run["dag_run_id"])}
            states = {day: _stage_states(airflow, run) for day, run in runs.items()}
            live.update(_progress(days, states, time.monotonic() - began))
            _print_changes(states, seen)
            if len(runs) == len(days) and all(run["state"] in ("success", "failed") for run in runs.values()):
                return {day: _outcome(airflow, run) for day, run in runs.items()}
            now = ({day: run["state"] for day, run in runs.items()}, states)
            last, moved = now, moved if now == last else time.monotonic()
            _refuse_standstill(days, *now, time.monotonic() - moved)
            time.sleep(2)


def _refuse_standstill(
    days: list[date], runs: dict[date, str], states: dict[date, dict[str, str]], seconds: float
) -> None:
    """Raises `CtrError` where nothing has moved for longer than a task, or a person who is asked, may take."""
    busy = any(state in _BUSY for stages in states.values() for state in stages.values())
    waits = max(settings().approval_seconds, settings().raw_wait_seconds) if busy else 0
    if seconds > waits + (_BUSY_SECONDS if busy else _IDLE_SECONDS):
        told = ", ".join(f"{day} {runs.get(day, 'not started')}" for day in days)
        raise CtrError(
            f"No task of {DAG_ID} has moved for {seconds / 60:.0f} minutes: expected its runs to end, "
            f"found {told}. Look at them in Airflow (`ctr ui`), and at the scheduler's log; "
            "then repeat the command, which goes on where this one has stopped."
        )


def _runs_by_day(runs: list[dict[str, Any]]) -> dict[date, dict[str, Any]]:
    """The runs of backfills, by log day."""
    from datetime import datetime

    return {
        log_day(datetime.fromisoformat(run["data_interval_start"])): run
        for run in runs
        if run["data_interval_start"] and run["run_type"] == "backfill"
    }


def _stage_states(airflow: AirflowClient, run: dict[str, Any]) -> dict[str, str]:
    """State of each column of the progress table: the one that matters most among its tasks."""
    by_task = {task["task_id"]: task["state"] or "" for task in airflow.tasks(run["dag_run_id"])}
    return {
        stage: min((by_task.get(task, "") for task in tasks), key=lambda state: _RANK.get(state, len(_RANK)))
        for stage, tasks in PROGRESS.items()
    }


def _progress(days: list[date], states: dict[date, dict[str, str]], seconds: float) -> Table:
    table = Table(title=f"ctr_daily  {int(seconds) // 60}:{int(seconds) % 60:02d}", title_justify="left")
    table.add_column("stage")
    for day in days:
        table.add_column(str(day), justify="center")
    for stage in PROGRESS:
        marks = [_MARKS.get(states.get(day, {}).get(stage, ""), ("·", "dim")) for day in days]
        table.add_row(stage, *(Text(mark, style=style) for mark, style in marks))
    return table


def _print_changes(states: dict[date, dict[str, str]], seen: dict[tuple[date, str], str]) -> None:
    """Where there is no terminal: one line for each change."""
    if err.is_terminal:
        return
    for day, stages in states.items():
        for stage, state in stages.items():
            if state in _MARKS and seen.get((day, stage)) != state:
                seen[day, stage] = state
                err.print(Text(f"{day} {stage}: {state}"))


def _outcome(airflow: AirflowClient, run: dict[str, Any]) -> Outcome:
    failures = {
        task["task_id"]: airflow.log_tail(run["dag_run_id"], task["task_id"], task["try_number"])
        for task in airflow.tasks(run["dag_run_id"])
        if task["state"] == "failed"
    }
    return Outcome(run["state"], float(run["duration"] or 0.0), failures)


def finished(store: Lake, day: date) -> bool:
    """Whether a nightly run of this day has ended with a decision on the tables that are published now."""
    decision = records_of_day(store, day)["decision"]
    return bool(decision and "decided_by" in decision)


def result(store: Lake, day: date) -> dict[str, Any]:
    """A nightly run in one row: counts, quality, honest next-day metrics beside the best possible, verdict, seconds."""
    logs = store.manifest("logs", day)
    rows = {name: table.rows for name, table in logs.tables.items()} if logs else {}
    records = records_of_day(store, day)
    evaluation, decision = (records[kind] or {} for kind in ("evaluation", "decision"))
    metrics = (evaluation.get("headline") or {}).get("candidate") or {}
    best = evaluation.get("oracle") or {}
    return {
        "log_day": str(day),
        "rows": rows.get("logs"),
        "quarantined": rows.get("quarantine"),
        "checks_passed": _passed(store, day),
        "auc": _value(metrics, "auc"),
        "best_possible_auc": best.get("auc"),
        "scene_mean_auc": _value(metrics, "scene_mean_auc"),
        "best_possible_scene_mean_auc": best.get("scene_mean_auc"),
        "new_item_auc": _new_item_auc(evaluation),
        "cold_cells_told": _cold_cells(evaluation),
        "verdict": decision.get("verdict"),
        "promoted": decision.get("promoted"),
        "seconds": (store.record("run", day) or {}).get("seconds"),
    }


def _value(metrics: dict[str, Any], name: str) -> float | None:
    return (metrics.get(name) or {}).get("value")


def _passed(store: Lake, day: date) -> str:
    records = [store.record(f"quality/{stage}", day) for stage in STAGES]
    checks = [check["status"] for record in records if record for check in record["checks"]]
    return f"{checks.count('pass')} of {len(checks)}"


def _new_item_auc(evaluation: dict[str, Any]) -> float | None:
    for group in evaluation.get("groups", []):
        if group["by"] == "item_level" and group["item_level"] == "zero" and group["candidate"]:
            return _value(group["candidate"], "auc")
    return None


def _cold_cells(evaluation: dict[str, Any]) -> str:
    """How many cells of user level x item level x scene with a cold side had enough clicks for an AUC."""
    cold = [
        group
        for group in evaluation.get("groups", [])
        if group["by"] == "cell" and (group["user_level"], group["item_level"]) != ("warm", "warm")
    ]
    told = [group for group in cold if group["candidate"] and _value(group["candidate"], "auc") is not None]
    return f"{len(told)} of {len(cold)}"


def next_raw_day(days: list[date]) -> date:
    """The day after the demo's last."""
    if not days:
        raise MissingDataError("There are no raw days yet: run `make demo` first.")
    return days[-1] + timedelta(days=1)
