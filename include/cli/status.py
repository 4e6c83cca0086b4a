"""`ctr status`: the state of each log day and what is there of it, from raw files to the model's verdict."""

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
    """Adds `ctr status`."""
    cli.command("status")(status)


def status(as_json: JsonFlag = False) -> None:
    """One row for each log day, gaps included: its state, raw files, rows, quarantine, checks, model, verdict, what to redo."""
    from include.days.backfill_plan import plan
    from include.days.day_states import states
    from include.days.day_status import day_status, known_days
    from include.lake.lake import get_lake
    from include.registry.outdated import outdated_champion, sentence

    store = get_lake()
    known, steps = known_days(store), plan(store)
    runs = _runs(known)
    days = sorted({*known, *(day for day, run in runs.items() if run.state in ("queued", "running"))})
    found = states(store, days, runs, steps)
    rows = [_row(day_status(store, day), found[day], [s for s in steps if s.day == day], as_json) for day in days]
    show_rows(
        rows, title=f"Days in {store.url}", as_json=as_json, empty="No day yet: `ctr sample` writes some raw logs."
    )
    if as_json:
        return
    for each in found.values():
        if each.needs_person:
            out.print(f"{each.day} {each.state}: {each.detail}\n  → {each.next_step}", highlight=False, markup=False)
    if champion := outdated_champion(store):
        version, replaced = champion
        out.print(
            f"Champion: {sentence(version.version, replaced)} `ctr backfill-plan` says what replaces it.",
            highlight=False,
        )
    if any(row["redo"] for row in rows):
        out.print("`ctr backfill-plan` tells how to redo what is stale or missing.", highlight=False)


def _runs(days: list[date]) -> "dict[date, Run]":
    """Airflow's runs of the days; none, which is said, where no Airflow can be asked."""
    from include.airflow_control.airflow_local import connect

    why = "none runs here (`ctr ui` starts it)"
    try:
        if days and (airflow := connect()):
            return airflow.runs_of_days(min(days), max(days))
    except (CtrError, httpx.HTTPError) as error:
        why = str(error)
    if days:
        err.print(f"States are told from the lake alone, without Airflow's runs: {why}.", highlight=False, markup=False)
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
