"""`ctr backfill-plan`: which days and tables to redo, why, and the commands that do it."""

from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

import typer

from include.calendar import days_between, parse_day
from include.console import JsonFlag, out, show_json, show_rows
from include.settings import settings


def register(cli: typer.Typer) -> None:
    """Adds `ctr backfill-plan`."""
    cli.command("backfill-plan")(backfill_plan)


def backfill_plan(
    changed: Annotated[
        str,
        typer.Option(
            help="Days whose raw logs were or will be corrected: DAY or DAY..DAY. Default: only what is stale."
        ),
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Names the days and tables to redo and why: what is stale, what is missing, and what depends on corrected days."""
    from include import registry
    from include.backfill import commands, plan
    from include.lake import lake
    from include.outdated import learnt_from, next_candidate, outdated_versions, sentence

    store, known = lake(), registry.versions()
    steps = plan(store, _days(changed))
    days = sorted({step.day for step in steps})
    rows = [_row(day, [step for step in steps if step.day == day]) for day in days]
    no_log = [step.day for step in steps if step.stage == "logs" and not step.possible]
    cleared = [day for day in no_log if store.manifest("logs", day)]
    gaps = [day for day in no_log if day not in cleared]
    last = max(store.days("logs"), default=None)
    outdated = outdated_versions(store, known)
    # Counts that follow from an earlier day do not outdate a model: rows of the log do.
    corrected = [step.day for step in steps if step.stage == "logs" and step.day not in gaps]
    models = [version.version for version in learnt_from(known, corrected)]
    following = next_candidate(store, known, {**{number: {} for number in models}, **outdated})
    if as_json:
        told = [{"day": str(s.day), "stage": s.stage, "reasons": s.reasons, "possible": s.possible} for s in steps]
        show_json(
            {
                "steps": told,
                "models": models,
                "outdated": {number: list(map(str, sorted(replaced))) for number, replaced in outdated.items()},
                "next_candidate": following and {**asdict(following), "day": str(following.day)},
                "gaps": gaps,
                "cleared": cleared,
                "commands": commands(days, last) if days else [],
            }
        )
        return
    show_rows(rows, title=f"To redo in {store.url}", as_json=False, empty="Nothing is stale, and no day is missing.")
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
            f"Versions that learnt from these days: {', '.join(map(str, models))}. They are outdated where more than "
            f"{settings().outdated_share:.0%} of a day's rows or clicks are others once it is redone.",
            highlight=False,
        )
    out.print(
        "Through Airflow (every task of every day to the last, promotes nothing unless told to), or only what is listed, "
        "tables alone, in one Spark submit:",
        highlight=False,
    )
    for command in commands(days, last):
        out.print(f"  {command}", markup=False, highlight=False, soft_wrap=True)


def _days(text: str) -> list[date]:
    first, _, last = text.partition("..")
    return list(days_between(parse_day(first), parse_day(last or first))) if text else []


def _row(day: date, steps: list[Any]) -> dict[str, Any]:
    first = steps[0].reasons
    more = f" (and {len(first) - 1} more)" if len(first) > 1 else ""
    return {"day": day, "redo": ", ".join(step.stage for step in steps), "why": f"{steps[0].stage}: {first[0]}{more}"}
