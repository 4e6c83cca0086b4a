"""`ctr history`: many days at once, in one Spark submit."""

import time
from typing import Annotated

import typer

from include.calendar import days_between, parse_day
from include.console import JsonFlag, err, out, show_json
from include.plural import counted


def register(cli: typer.Typer) -> None:
    """Add `ctr history`."""
    cli.command("history")(history)


def history(
    first: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Option("--to", help="Last day, included.")],
    again: Annotated[
        bool,
        typer.Option("--again", help="Also rebuild what is published and not stale: after a change of the code."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Load logs, features and training rows of a range where missing or stale, audited and published day by day."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from include.orchestration.spark_submit import submit
    from include.stages import STAGES

    days = list(days_between(parse_day(first), parse_day(last)))
    began = time.monotonic()
    done = []
    current = 0
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    if not as_json and not err.is_terminal:  # which shows the bar from the start
        err.print(
            f"Starting Spark for {counted(len(days), 'day')}; each is printed when it is published.", highlight=False
        )
    with Progress(*columns, console=err, transient=True, disable=as_json) as progress:
        bar = progress.add_task("Starting Spark", total=len(days) * len(STAGES))
        for event in submit("history", days[0], days[-1], options=["--again"] if again else ()):
            label = f"{event['day']} {event['stage']}"
            if event["state"] == "start":
                progress.update(bar, description=label)
            elif event["state"] == "current":
                current += 1
                progress.advance(bar)
            elif event["state"] == "published":
                done.append(event)
                progress.advance(bar)
                if not as_json:
                    progress.console.print(
                        f"{label:<20} {event['rows']:>10,} rows  {event['seconds']:>6.1f} s  checks: {event['status']}",
                        highlight=False,
                    )
    seconds = round(time.monotonic() - began, 1)
    if as_json:
        show_json({"days": len(days), "seconds": seconds, "stages": done, "current": current})
    else:
        skipped = f" Already current: {current} of {counted(len(days) * len(STAGES), 'stage')}." if current else ""
        out.print(f"{counted(len(days), 'day')} in {seconds} s.{skipped} `ctr status` shows them.", highlight=False)
