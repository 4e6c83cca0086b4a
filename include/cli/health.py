"""`ctr health`: whether the nights go on, in one line and an exit status, for cron, probes and a watchdog outside."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from include.airflow_control.health import Limits, facts, metrics
from include.console import JsonFlag, out, show_json

_LIMITS = Limits()


def register(cli: typer.Typer) -> None:
    """Adds `ctr health`."""
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
    """One line: newest log and table, champion, scheduler, disk. Exit status 1 where one of them is not as it should be."""
    found = facts(datetime.now(UTC), Limits(log_days, table_days, champion_days, disk))
    healthy = all(fact.healthy for fact in found)
    if as_metrics:
        typer.echo("\n".join(metrics(found)))
        return
    if as_json:
        show_json({"healthy": healthy, "facts": [asdict(fact) for fact in found]})
    else:
        ordered = sorted(found, key=lambda fact: fact.healthy)  # what is wrong comes first
        line = "; ".join(fact.text for fact in ordered)
        out.print(f"{'healthy' if healthy else 'NOT HEALTHY'}: {line}", highlight=False, markup=False, soft_wrap=True)
    if not healthy:
        raise typer.Exit(1)
