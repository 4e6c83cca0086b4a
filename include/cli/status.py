"""`ctr status`: the state of each log day and its data, from raw files to the model's verdict."""

from datetime import date
from typing import TYPE_CHECKING, Any

import httpx
import typer

from include.console import JsonFlag, err, out, show_rows
from include.errors import CtrError

if TYPE_CHECKING:
    from include.days.backfill_plan import Redo
    from include.days.day_states import DayState
    from include.days.runs import Run


def register(cli: typer.Typer) -> None:
    """Add `ctr status`."""
    cli.command("status")(status)


def status(as_json: JsonFlag = False) -> None:
    """List the log days, gaps included: state, raw files, rows, quarantine, checks, model, verdict, what to redo."""
    from include.days.backfill_plan import plan
    from include.days.day_states import State, states
    from include.days.day_status import day_status, known_days
    from include.lake.lenient_lake import get_lenient_lake
    from include.registry.outdated import outdated_champion, sentence

    lake = get_lenient_lake()
    log_days = known_days(lake)
    steps = plan(lake)
    runs = _runs(log_days)
    days = sorted({*log_days, *(day for day, run in runs.items() if run.state in ("queued", "running"))})
    day_states = states(lake, days, runs, steps)
    rows = [_row(day_status(lake, day), day_states[day], [s for s in steps if s.day == day], as_json) for day in days]
    show_rows(
        rows, title=f"Days in {lake.url}", as_json=as_json, empty="No day yet: `ctr sample` writes some raw logs."
    )
    if as_json:
        return
    for day_state in day_states.values():
        if day_state.needs_person or day_state.state is State.WAITING:
            next_step = f"\n  → {day_state.next_step}" if day_state.next_step else ""
            out.print(
                f"{day_state.day} {day_state.state}: {day_state.detail}{next_step}", highlight=False, markup=False
            )
    if champion := outdated_champion(lake):
        version, replaced = champion
        out.print(
            f"Champion: {sentence(version.version, replaced)} `ctr backfill-plan` shows what replaces it.",
            highlight=False,
        )
    if any(row["redo"] for row in rows):
        out.print("`ctr backfill-plan` shows how to redo what is stale or missing.", highlight=False)


def _runs(days: list[date]) -> "dict[date, Run]":
    """Return Airflow's runs of the days; none, with a message, where no Airflow is reachable."""
    from include.airflow_control.airflow_local import connect

    reason = "none runs here (`ctr ui` starts it)"
    try:
        if days and (airflow := connect()):
            return airflow.runs_of_days(min(days), max(days))
    except (CtrError, httpx.HTTPError) as error:
        reason = str(error).rstrip(".")
    if days:
        err.print(f"States come from the lake alone, without Airflow's runs: {reason}.", highlight=False, markup=False)
    return {}


def _row(day: dict[str, Any], state: "DayState", steps: "list[Redo]", as_json: bool) -> dict[str, Any]:
    redo = {} if state.under_way else {step.stage: step.reasons[0] for step in steps}
    if as_json:
        return {**day, "state": state.model_dump(mode="json", exclude={"day"}), "redo": redo}
    checks = day.pop("checks")
    day["checks ✔/!/✘"] = (
        "/".join(str(checks[name]) for name in ("pass", "warning", "fail")) if any(checks.values()) else None
    )
    stage, reason = next(iter(redo.items()), ("", ""))
    day["redo"] = f"{', '.join(redo)}: {stage} {reason}" if len(redo) > 1 else f"{stage}: {reason}" if redo else None
    return {"day": day.pop("day"), "state": state.words, **day}
