"""The demo: real logs, a history load, and the last days run by a real Airflow, with visible progress."""

import logging
import os
import subprocess
import sys
from datetime import date, timedelta
from typing import Any

from include.airflow_control import airflow_local
from include.airflow_control.nightly_runs import OnProgress, Outcome, run_days
from include.days.day_status import check_counts
from include.errors import CtrError, MissingDataError
from include.lake.lake import Lake, get_lake
from include.lake.model_records import records_of_day
from include.metrics_records import value_of
from include.records import Evaluation, Run
from include.setting_groups import PROJECT
from include.settings import get_settings

log = logging.getLogger(__name__)

FIRST_DAY = date(2023, 7, 10)
DAYS = 10
NIGHTLY_DAYS = 3
ROWS_PER_DAY = 20_000

_SMALL_LOG = PROJECT / "include/airflow_control/small_log.env"


def use_small_log_settings(extra: dict[str, str]) -> None:
    """Write the home's settings file, once, so that every later command and Airflow see the same settings."""
    path = get_settings().home / "settings.env"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_SMALL_LOG.read_text() + "".join(f"{name}={value}\n" for name, value in extra.items()))
        get_settings.cache_clear()


def ctr(*arguments: str) -> None:
    """Run another `ctr` command as a person would; raises `CtrError` if it fails."""
    log.info("$ ctr %s", " ".join(arguments))
    command = [sys.executable, "-c", "from include.cli.app import app; app()", *arguments]
    if subprocess.run(command, env={**os.environ, "CTR_HOME": str(get_settings().home)}).returncode:
        raise CtrError(f"`ctr {' '.join(arguments)}` failed: its message is above.")


def load_history(days: list[date]) -> None:
    """Load the days that are not published yet, in one Spark submit."""
    missing = [day for day in days if get_lake().manifest("training", day) is None]
    if missing:
        ctr("history", "--from", str(missing[0]), "--to", str(missing[-1]))


def nightly(
    days: list[date], promote: str = "yes", on_progress: OnProgress = lambda _days, _runs: None
) -> dict[date, Outcome]:
    """Run days through a real Airflow, again where they have run before, and return how each ended.

    Runs that an earlier call has left are finished first, and are not started again.
    """
    log.info("Nightly runs of %s to %s, as a backfill in Airflow", days[0], days[-1])
    with airflow_local.connected() as airflow:
        airflow.unpause()
        return run_days(airflow, days, {"promote": promote}, on_progress=on_progress)


def finished(lake: Lake, day: date) -> bool:
    """Return whether a nightly run of this day has ended with a decision on the tables that are published now."""
    decision = records_of_day(lake, day).decision
    return bool(decision and decision.decided_by)


def result(lake: Lake, day: date) -> dict[str, Any]:
    """Return a nightly run in one row: counts, quality, honest next-day metrics beside the best possible, verdict, seconds."""
    logs = lake.manifest("logs", day)
    checks = check_counts(lake, day)
    rows = {name: table.rows for name, table in logs.tables.items()} if logs else {}
    records = records_of_day(lake, day)
    evaluation = records.evaluation
    candidate = evaluation.headline.candidate if evaluation else None
    best = evaluation.oracle if evaluation else None
    run = lake.record(Run, day)
    return {
        "log_day": str(day),
        "rows": rows.get("logs"),
        "quarantined": rows.get("quarantine"),
        "checks_passed": f"{checks['pass']} of {sum(checks.values())}",
        "auc": value_of(candidate, "auc"),
        "best_possible_auc": best and best.auc,
        "scene_mean_auc": value_of(candidate, "scene_mean_auc"),
        "best_possible_scene_mean_auc": best and best.scene_mean_auc,
        "new_item_auc": _new_item_auc(evaluation),
        "cold_cells_with_auc": _cold_cells(evaluation),
        "verdict": records.decision and records.decision.verdict,
        "promoted": records.decision and records.decision.promoted,
        "seconds": run and run.seconds,
    }


def _new_item_auc(evaluation: Evaluation | None) -> float | None:
    for group in evaluation.groups if evaluation else []:
        if group.by == "item_level" and group.item_level == "zero":
            return value_of(group.candidate, "auc")
    return None


def _cold_cells(evaluation: Evaluation | None) -> str:
    """Return how many cells of user level x item level x scene with a cold side had enough clicks for an AUC."""
    cold = [
        cell
        for cells in (evaluation.cells.values() if evaluation else ())
        for levels, cell in cells.items()
        if levels != ("warm", "warm")
    ]
    evaluated = [cell for cell in cold if value_of(cell.candidate, "auc") is not None]
    return f"{len(evaluated)} of {len(cold)}"


def next_raw_day(days: list[date]) -> date:
    """Return the day after the demo's last."""
    if not days:
        raise MissingDataError("There are no raw days yet: run `make demo` first.")
    return days[-1] + timedelta(days=1)
