"""`ctr status`: what is there for each log day, from raw files to the model's verdict, and what is stale or missing."""

from datetime import date
from typing import Any

import typer

from include.console import JsonFlag, out, show_rows


def register(cli: typer.Typer) -> None:
    """Adds `ctr status`."""
    cli.command("status")(status)


def status(as_json: JsonFlag = False) -> None:
    """One row for each log day, gaps included: raw files, rows, quarantine, checks, model, verdict, and what to redo."""
    from include.backfill import plan
    from include.day_status import day_status, known_days
    from include.lake import lake

    store = lake()
    redo: dict[date, dict[str, str]] = {}
    for step in plan(store):
        redo.setdefault(step.day, {})[step.stage] = step.reasons[0]
    rows = [_row(day_status(store, day), redo.get(day, {}), as_json) for day in known_days(store)]
    show_rows(
        rows, title=f"Days in {store.url}", as_json=as_json, empty="No day yet: `ctr sample` writes some raw logs."
    )
    if redo and not as_json:
        out.print("`ctr backfill-plan` tells how to redo what is stale or missing.", highlight=False)


def _row(day: dict[str, Any], redo: dict[str, str], as_json: bool) -> dict[str, Any]:
    if as_json:
        return {**day, "redo": redo}
    checks = day.pop("checks")
    day["checks ✔/!/✘"] = (
        "/".join(str(checks[name]) for name in ("pass", "warning", "fail")) if any(checks.values()) else None
    )
    stage, reason = next(iter(redo.items()), ("", ""))
    day["redo"] = f"{', '.join(redo)}: {stage} {reason}" if len(redo) > 1 else f"{stage}: {reason}" if redo else None
    return day
