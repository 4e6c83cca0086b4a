"""`ctr health`: whether the nights run as they should, in one line and an exit status, for cron, probes and watchdogs."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from include.airflow_control.health import Limits, facts, metrics
from include.console import JsonFlag, out, show_json

_LIMITS = Limits()


def register(cli: typer.Typer) -> None:
    """Add `ctr health`."""
    cli.command("health")(health)


def health(
    log_days: Annotated[
        int, typer.Option(min=0, help="Days that the newest log may be behind yesterday.")
    ] = _LIMITS.log_days,
    table_days: Annotated[
        int, typer.Option(min=0, help="Days that the newest training table may be behind yesterday.")
    ] = _LIMITS.table_days,
    champion_days: Annotated[
        int, typer.Option(min=0, help="Days that the champion's log day may be behind yesterday.")
    ] = _LIMITS.champion_days,
    disk: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the home's disk that may be in use.")
    ] = _LIMITS.disk,
    as_metrics: Annotated[bool, typer.Option("--metrics", help="Print Prometheus's text format; exit with 0.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Print one line: newest log and table, champion, scheduler, disk. Exit status 1 where one of them is not healthy."""
    checked = facts(datetime.now(UTC), Limits(log_days, table_days, champion_days, disk))
    healthy = all(fact.healthy for fact in checked)
    if as_metrics:
        typer.echo("\n".join(metrics(checked)))
        return
    if as_json:
        show_json({"healthy": healthy, "facts": [asdict(fact) for fact in checked]})
    else:
        ordered = sorted(checked, key=lambda fact: fact.healthy)  # what is wrong comes first
        line = "; ".join(fact.text for fact in ordered)
        out.print(f"{'healthy' if healthy else 'NOT HEALTHY'}: {line}", highlight=False, markup=False, soft_wrap=True)
    if not healthy:
        raise typer.Exit(1)
