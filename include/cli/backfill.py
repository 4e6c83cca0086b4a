"""`ctr backfill-plan` and `ctr backfill`: which days and tables to redo and why, and redoing them through Airflow."""

from dataclasses import asdict
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.calendar import ONE_DAY, days_between, parse_day
from include.console import JsonFlag, err, out, show_json, show_rows
from include.errors import CtrError, NothingToDoError
from include.plural import counted
from include.settings import get_settings

if TYPE_CHECKING:
    from include.airflow_control.airflow_client import AirflowClient
    from include.airflow_control.backfill_request import Request
    from include.airflow_control.nightly_runs import Outcome
    from include.days.backfill_plan import Redo
    from include.lake.lake import Lake


Changed = Annotated[
    str,
    typer.Option(help="Days whose raw logs were or will be corrected: DAY or DAY..DAY. Default: only what is stale."),
]


class Promote(StrEnum):
    """Whether the runs may promote a candidate that passes the gate; `auto`: those of a backfill do not."""

    auto = "auto"
    yes = "yes"
    no = "no"


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("backfill-plan")(backfill_plan)
    cli.command("backfill")(backfill)


def backfill_plan(changed: Changed = "", as_json: JsonFlag = False) -> None:
    """List the days and tables to redo and why: what is stale, what is missing, and what depends on corrected days."""
    from include.days.backfill_plan import commands, plan
    from include.lake.lake import get_lake
    from include.registry import registry
    from include.registry.outdated import next_candidate, outdated_versions, sentence, trained_on

    lake = get_lake()
    versions = registry.versions()
    steps = plan(lake, _days(changed))
    days = sorted({step.day for step in steps})
    rows = [_row(day, [step for step in steps if step.day == day]) for day in days]
    no_log = [step.day for step in steps if step.stage == "logs" and not step.possible]
    cleared = [day for day in no_log if lake.manifest("logs", day)]
    gaps = [day for day in no_log if day not in cleared]
    last = max(lake.days("logs"), default=None)
    outdated = outdated_versions(lake, versions)
    # Counts that follow from an earlier day do not outdate a model: rows of the log do.
    corrected = [step.day for step in steps if step.stage == "logs" and step.day not in gaps]
    models = [version.version for version in trained_on(versions, corrected)]
    following = next_candidate(lake, versions, {**{number: {} for number in models}, **outdated})
    if as_json:
        step_rows = [{"day": str(s.day), "stage": s.stage, "reasons": s.reasons, "possible": s.possible} for s in steps]
        show_json(
            {
                "steps": step_rows,
                "models": models,
                "outdated": {number: list(map(str, sorted(replaced))) for number, replaced in outdated.items()},
                "next_candidate": following and asdict(following),
                "gaps": gaps,
                "cleared": cleared,
                "commands": commands(days, last) if days else [],
            }
        )
        return
    show_rows(rows, title=f"To redo in {lake.url}", as_json=False, empty="Nothing is stale, and no day is missing.")
    for number, replaced in outdated.items():
        out.print(sentence(number, replaced), highlight=False)
    if following and (outdated or models):
        out.print(str(following), highlight=False)
    if not days:
        return
    if gaps:
        out.print(
            f"No raw log of {', '.join(map(str, gaps))}: deliver it, or declare the day empty in CTR_EMPTY_DAYS; "
            "until then the days after it cannot be redone.",
            highlight=False,
        )
    if cleared:
        out.print(
            f"The raw log of {', '.join(map(str, cleared))} was cleared away: restore it to redo these logs.",
            highlight=False,
        )
    if models:
        out.print(
            f"Versions trained on these days: {', '.join(map(str, models))}. They are outdated where more than "
            f"{get_settings().outdated_share:.0%} of a day's rows or clicks differ once it is redone.",
            highlight=False,
        )
    out.print(
        "To redo them: through Airflow (every task of every day to the last; promotes nothing by default), or only the tables "
        "listed, in one Spark submit:",
        highlight=False,
    )
    for command in commands(days, last):
        out.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)


def backfill(
    first: Annotated[str, typer.Option("--from", help="First log day; default the first that is stale.")] = "",
    last: Annotated[str, typer.Option("--to", help="Last log day, included; default the last that is published.")] = "",
    changed: Changed = "",
    promote: Annotated[Promote, typer.Option(help="auto: a backfill promotes nothing.")] = Promote.auto,
    scratch: Annotated[bool, typer.Option("--scratch", help="Candidates start from scratch.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run log days again through Airflow, one at a time, and show them until they have ended.

    Uses the Airflow of CTR_AIRFLOW_URL, else the one that runs on this home (`ctr ui`), else starts one. Ctrl-C leaves the
    runs to Airflow; the same command resumes them.
    """
    from include.airflow_control import airflow_local
    from include.airflow_control.backfill_request import Request
    from include.days.backfill_plan import plan
    from include.lake.lake import get_lake

    lake = get_lake()
    steps = plan(lake, _days(changed))
    days = _range(lake, first, last, steps)
    request = Request.of(lake, days[0], days[-1], {"promote": str(promote), "scratch": scratch})
    if not as_json:
        _announce(request, [step for step in steps if step.day in days])
    try:
        with airflow_local.connected() as airflow:
            outcomes = _run(airflow, request)
            runs = airflow.runs_of_days(days[0], days[-1])
    except KeyboardInterrupt:
        err.print(
            "No longer following the runs, which continue in Airflow: the same command resumes them. To stop them, cancel the "
            "backfill in Airflow.",
            highlight=False,
        )
        raise typer.Exit(130) from None
    remaining = plan(lake)
    request.settle()
    _show_changes(lake, request, request.changes(lake, outcomes, runs, remaining), remaining, as_json)
    if failed := [f"{day} {outcome.state}" for day, outcome in outcomes.items() if outcome.state != "success"]:
        from include.airflow_control.nightly_runs import failure_text

        raise CtrError(f"Runs that did not succeed: {', '.join(failed)}.\n{failure_text(outcomes)}".rstrip())


def _range(lake: "Lake", first: str, last: str, steps: "list[Redo]") -> list[date]:
    """Return the days to run: those of the options, else from the first stale one to the last that is stale or published."""
    stale = [step.day for step in steps]
    if not first and not stale:
        raise NothingToDoError("Nothing is stale, and no day is missing. To run days anyway: --from DAY --to DAY.")
    start = parse_day(first) if first else stale[0]
    end = parse_day(last) if last else max([start, *stale[-1:], *lake.days("logs")[-1:]])
    return list(days_between(start, end))


def _announce(request: "Request", steps: "list[Redo]") -> None:
    days = request.days
    rows = [_row(day, day_steps) for day in days if (day_steps := [step for step in steps if step.day == day])]
    show_rows(
        rows,
        title="Stale or missing among these days",
        as_json=False,
        empty="No published table of these days is stale.",
    )
    parameters = ", ".join(f"{name}={value}" for name, value in request.conf.items())
    out.print(f"Runs of {counted(len(days), 'day')}, {days[0]} to {days[-1]}, with {parameters}.", highlight=False)
    if request.began:
        out.print(f"Resumes the backfill of {request.began:%Y-%m-%d %H:%M} UTC.", highlight=False)


def _run(airflow: "AirflowClient", request: "Request") -> "dict[date, Outcome]":
    """Run the days of the request; repeat those that were under way on tables which are stale by now."""
    from include.airflow_control.nightly_runs import run_days, usual_seconds
    from include.cli.progress import nightly_progress
    from include.days.backfill_plan import plan
    from include.lake.lake import get_lake

    days = request.days
    if get_settings().airflow_url:
        airflow.refuse_paused()
    else:
        airflow.unpause()
    earlier = usual_seconds(airflow.runs_of_days(days[0] - 30 * ONE_DAY, days[-1]))
    if earlier:
        minutes = counted(max(1, round(earlier * len(days) / 60)), "minute")
        err.print(f"About {minutes}: {earlier:.0f} s a day, the median of recent runs.", highlight=False)
    with nightly_progress() as show:
        outcomes = run_days(airflow, days, request.conf, request.began, request.keep, show)
    stale = sorted({step.day for step in plan(get_lake()) if step.possible and step.day in outcomes})
    if again := [day for day in stale if outcomes[day].state == "success"]:
        with nightly_progress() as show:
            outcomes |= run_days(airflow, list(days_between(again[0], again[-1])), request.conf, on_progress=show)
    return outcomes


def _show_changes(
    lake: "Lake", request: "Request", rows: list[dict[str, Any]], remaining: "list[Redo]", as_json: bool
) -> None:
    """Print what has changed (days, tables, candidates, the champion) and what is still stale."""
    from include.registry import registry
    from include.registry.outdated import next_candidate, outdated_versions, sentence

    versions = registry.versions()
    champion = registry.holder(versions, registry.CHAMPION)
    number = champion.version if champion else None
    outdated = outdated_versions(lake, versions)
    stale = [f"{step.stage}/{step.day}" for step in remaining]
    following = next_candidate(lake, versions, outdated)
    if as_json:
        champions = {"champion_before": request.champion, "champion": number, "champion_outdated": number in outdated}
        show_json({"days": rows, **champions, "next_candidate": following and asdict(following), "stale": stale})
        return
    show_rows(rows, title="What has changed", as_json=False, empty="No day was run.")
    same = "as before" if number == request.champion else f"before: {request.champion or 'none'}"
    out.print(f"Champion: {f'version {number}' if number else 'none'}, {same}.", highlight=False)
    if champion and number in outdated:
        out.print(f"{sentence(champion.version, outdated[champion.version])} {following}", highlight=False)
    out.print(f"Still stale: {', '.join(stale)}." if stale else "Nothing is stale.", highlight=False)


def _days(text: str) -> list[date]:
    first, _, last = text.partition("..")
    return list(days_between(parse_day(first), parse_day(last or first))) if text else []


def _row(day: date, steps: list[Any]) -> dict[str, Any]:
    first = steps[0].reasons
    more = f" (and {len(first) - 1} more)" if len(first) > 1 else ""
    return {"day": day, "redo": ", ".join(step.stage for step in steps), "why": f"{steps[0].stage}: {first[0]}{more}"}
