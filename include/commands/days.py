"""`ctr days`: what is there for each log day, from raw files to the model's verdict."""

from typing import Any

import typer

from include.console import JsonFlag, show_rows


def register(cli: typer.Typer) -> None:
    """Adds `ctr days`."""
    cli.command("days")(days)


def days(as_json: JsonFlag = False) -> None:
    """One row for each log day: raw files, rows, quarantine, checks, model and verdict, and whether it is stale."""
    from include.day_status import day_status, known_days
    from include.lake import lake

    store = lake()
    rows = [_row(day_status(store, day), as_json) for day in known_days(store)]
    show_rows(
        rows, title=f"Days in {store.url}", as_json=as_json, empty="No day yet: `ctr sample` writes some raw logs."
    )


def _row(status: dict[str, Any], as_json: bool) -> dict[str, Any]:
    if as_json:
        return status
    checks = status.pop("checks")
    status["checks ✔/!/✘"] = (
        "/".join(str(checks[name]) for name in ("pass", "warning", "fail")) if any(checks.values()) else None
    )
    status["stale"] = ", ".join(status["stale"]) or None
    return status
