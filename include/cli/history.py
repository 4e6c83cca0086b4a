"""`ctr history` and `ctr night`: the tables of many days, or one whole night, without Airflow."""

import time
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from include.calendar import days_between, parse_day
from include.cli.backfill import Promote
from include.console import JsonFlag, err, out, show_json, show_rows
from include.plural import counted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from include.orchestration.night import Event


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("history")(history)
    cli.command("night")(night)


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
    from include.orchestration.spark_submit import submit
    from include.stages import STAGES

    days = list(days_between(parse_day(first), parse_day(last)))
    began = time.monotonic()
    done = []
    current = 0
    if not as_json and not err.is_terminal:  # which shows the bar from the start
        err.print(
            f"Starting Spark for {counted(len(days), 'day')}; each is printed when it is published.", highlight=False
        )
    with _progress(as_json) as progress:
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


def night(
    day: Annotated[
        str, typer.Option("--day", help="Log day, YYYY-MM-DD; default the newest complete log that is not evaluated.")
    ] = "",
    promote: Annotated[
        Promote, typer.Option(help="auto: promote what passes the gate, unless a later day was judged before.")
    ] = Promote.auto,
    scratch: Annotated[bool, typer.Option("--scratch", help="The candidate starts from scratch.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run one night in this terminal, without Airflow: tables, checks, training, evaluation, gate, promotion and report.

    It stops at the first check that fails, and publishes nothing of that stage. Stopped or killed, the same command continues
    with the step that was not finished. Airflow is the way to run it daily: `make ui`.
    """
    from include.lake.lake import get_lake
    from include.orchestration.night import STEPS, next_day, one_night_at_a_time, refuse_without_history, run_night

    lake = get_lake()
    events = []
    with one_night_at_a_time(), _progress(as_json) as progress:
        log_day = parse_day(day) if day else next_day(lake)
        bar = progress.add_task(f"{log_day}", total=len(STEPS))
        _wait_for_log(log_day, progress, bar)
        refuse_without_history(lake, log_day)
        progress.update(bar, description=f"{log_day} starting Spark")
        for event in run_night(log_day, promote.value, scratch=scratch):
            events.append(event)
            if event.state == "start":
                progress.update(bar, description=f"{log_day} {event.step}")
                continue
            progress.advance(bar)
            if not as_json:
                progress.console.print(_line(event), highlight=False, markup=False, soft_wrap=True)
    _show_night(log_day, events, as_json)


def _wait_for_log(day: date, progress: "Progress", bar: "TaskID") -> None:
    """Show what the day's log waits for, until it is complete."""
    from include.orchestration.night import wait_for_log

    before = ""
    for missing in wait_for_log(day):
        progress.update(bar, description=f"{day} {missing}")
        if not before and not err.is_terminal:
            err.print(f"{day}: {missing}", highlight=False, markup=False)
        before = missing


def _line(event: "Event") -> str:
    seconds = f"{event.seconds:6.1f} s" if event.state == "done" else " " * 8
    return f"{event.step:<12} {event.state:<8} {seconds}  {event.detail}".rstrip()


def _show_night(day: date, events: "list[Event]", as_json: bool) -> None:
    from include.airflow_control.demo import result
    from include.lake.lake import get_lake, report_path
    from include.lake.model_records import records_of_day

    lake = get_lake()
    decision = records_of_day(lake, day).decision
    report = lake.uri(report_path(day))
    row = {**result(lake, day), "seconds": round(sum(event.seconds for event in events))}
    if as_json:
        show_json({**row, "report": report, "steps": [vars(event) for event in events if event.state != "start"]})
        return
    show_rows([row], title=f"Night of {day}", as_json=False, empty="")
    if decision:
        out.print(f"Verdict  {decision.verdict}: {' '.join(decision.reasons)}", highlight=False, markup=False)
        if decision.verdict == "hold" and decision.promoted is None:
            out.print(
                f"Held     The champion stays. To put the candidate in use: ctr promote {decision.candidate}",
                highlight=False,
            )
    out.print(f"Report   {report}", highlight=False, markup=False, soft_wrap=True)


def _progress(as_json: bool) -> "Progress":
    """Return a bar of steps on standard error, which is gone when done and absent with `--json`."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=err, transient=True, disable=as_json)
