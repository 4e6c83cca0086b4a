"""`ctr sample`: generated logs."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from include.calendar import parse_day
from include.console import JsonFlag, out, show_json, show_rows


def register(cli: typer.Typer) -> None:
    """Add `ctr sample`."""
    cli.command("sample")(sample)


def sample(
    first: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD.")] = "2023-07-10",
    days: Annotated[int, typer.Option(min=1, help="How many days.")] = 10,
    rows_per_day: Annotated[int, typer.Option(min=100, help="Impressions of each day.")] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the generated world.")] = 17,
    bad_day: Annotated[bool, typer.Option("--bad-day", help="Damage the last day as an upstream bug would.")] = False,
    fault: Annotated[list[str] | None, typer.Option(help="Damage the last day by this fault; may be repeated.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Generate logs in the AntM2C format under CTR_RAW, and their true click probabilities in a separate folder.

    Days of the same seed and size belong to one world: generating the next days later continues it.
    """
    from include.cli.progress import steps
    from include.raw.deliveries import Raw
    from include.sample.faults import BAD_DAY
    from include.sample.world import World
    from include.sample.writer import summarise, write_days
    from include.settings import get_settings

    start = parse_day(first)
    log_days = [start + timedelta(days=n) for n in range(days)]
    world = World(seed, rows_per_day, get_settings().scenes)
    faults = tuple(fault or ()) or (BAD_DAY if bad_day else ())
    written = write_days(world, log_days, bad=log_days[-1], faults=faults)
    with steps("Generating days", total=days, as_json=as_json) as step:
        made = [step(day) for day in written]
    report = {"raw": Raw().url, "oracle": str(get_settings().home / "oracle"), "seed": seed, **summarise(world, made)}
    if as_json:
        show_json(report)
        return
    show_rows([_table_row(day) for day in report["days"]], title="Days", as_json=False, empty="")
    show_rows(report["scenes"], title="Scenes", as_json=False, empty="")
    out.print(
        f"{report['rows']:,} rows, {report['clicks']:,} clicks, CTR {report['ctr']:.4f}, oracle AUC {report['oracle_auc']:.4f}, "
        f"{report['cold_share']:.1%} of impressions on items first shown that day.",
        f"Raw logs: {report['raw']}",
        f"Truth, which the pipeline never reads: {report['oracle']}",
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )


def _table_row(day: dict[str, Any]) -> dict[str, Any]:
    """Return a day as a row of the table."""
    return {**day, "files": len(day["files"]), "faults": ", ".join(day["faults"]) or None}
