"""`ctr import mind` and `ctr import log`: other logs as raw logs."""

import shlex
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from include.console import JsonFlag, out, show_json, show_rows


def register(cli: typer.Typer) -> None:
    """Add the `ctr import` commands."""
    group = typer.Typer(name="import", help="Import other logs as raw logs under CTR_RAW.", no_args_is_help=True)
    group.command("mind")(mind)
    group.command("log")(from_log)
    group.command("csv", hidden=True)(from_log)
    cli.add_typer(group)


def mind(
    behaviors: Annotated[str, typer.Option(help="MIND's behaviors.tsv, plain or .gz; a path or URL.")],
    news: Annotated[str, typer.Option(help="MIND's news.tsv, plain or .gz; a path or URL.")],
    as_json: JsonFlag = False,
) -> None:
    """Import a MIND-layout news log: one raw row for each item shown, its scene the item's category group."""
    from include.cli.progress import bar
    from include.raw.deliveries import Raw
    from include.raw.mind import MIND_SCENES, import_mind
    from include.settings import list_text

    with bar("Importing", total=1, as_json=as_json) as progress:
        report = import_mind(behaviors, news, progress=progress)
    scenes = [
        {"scene": scene, "rows": rows, "clicks": clicks, "ctr": clicks / rows if rows else None}
        for scene, (rows, clicks) in report.scenes.items()
    ]
    data: dict[str, Any] = {
        "raw": Raw().url,
        "impressions": report.impressions,
        "rows_in": report.imported.rows_in,
        "rows_written": report.imported.rows_written,
        "clicks": report.clicks,
        "users": len(report.users),
        "news": report.news,
        "unknown_items": report.unknown_items,
        "unknown_history": report.unknown_history,
        "unknown_categories": report.unknown_categories,
        "days": report.imported.days,
        "scenes": scenes,
    }
    if as_json:
        show_json(data)
        return
    _show_days(report.imported.days)
    show_rows(scenes, title="Scenes", as_json=False, empty="")
    out.print(
        f"{data['impressions']:,} impressions showed {data['rows_in']:,} items; {data['rows_written']:,} rows written, "
        f"{data['clicks']:,} clicks, {data['users']:,} users, {data['news']:,} news read.",
        f"Not among the news: {data['unknown_items']:,} shown items (kept, without text), "
        f"{data['unknown_history']:,} clicks in histories (skipped). Categories without a scene: {data['unknown_categories']:,}.",
        f"Raw logs: {data['raw']}",
        f"Next: set CTR_SCENES={list_text(MIND_SCENES)}",
        sep="\n",
        highlight=False,
        soft_wrap=True,
    )


def from_log(
    inputs: Annotated[list[str], typer.Argument(help="Files or URLs, plain or compressed.")],
    mapping: Annotated[str, typer.Option(help="A YAML mapping, or the name of a bundled one: antm2c.")],
    as_json: JsonFlag = False,
) -> None:
    """Import any log by a mapping: CSV, TSV, JSON lines, Parquet, ORC.

    Rows without a readable time are rejected rows of the day of the row before them. A file imported again replaces its rows.
    """
    from include.cli.progress import bar
    from include.mapping.mapping import read_mapping
    from include.raw.deliveries import Raw
    from include.raw.log_import import import_log
    from include.settings import get_settings, list_text

    rule = read_mapping(mapping)
    with bar("Importing", total=1, as_json=as_json) as progress:
        reports = import_log(inputs, rule, progress=progress)
    days: dict[str, int] = {}
    for report in reports:
        for day, rows in report.imported.days.items():
            days[day] = days.get(day, 0) + rows
    files: list[dict[str, Any]] = [
        {
            "file": report.imported.source,
            **vars(report.counts),
            "rows_in": report.imported.rows_in,
            "rows_written": report.imported.rows_written,
            "rejects": report.imported.rejects,
            "reasons": dict(report.reasons),
            "examples": report.examples,
            "local_times_repeated": report.repeated,
            "local_times_skipped": report.skipped,
            "other_scenes": dict(report.other_scenes.most_common(20)),
        }
        for report in reports
    ]
    if as_json:
        show_json({"raw": Raw().url, "days": dict(sorted(days.items())), "files": files})
        return
    _show_days(days)
    for file in files:
        out.print(*_file_lines(file), sep="\n", highlight=False, soft_wrap=True, markup=False)
    out.print(f"Raw logs: {Raw().url}", highlight=False, soft_wrap=True)
    if (scenes := rule.all_scenes()) and scenes != get_settings().scenes:
        line = f"Next: set CTR_SCENES={shlex.quote(list_text(scenes))}, the scenes of the mapping."
        out.print(line, highlight=False, soft_wrap=True, markup=False)


def _file_lines(file: dict[str, Any]) -> Iterator[str]:
    """Yield what a person should know of an imported file."""
    if file["lines"]:
        others = {"in a header": file["header"], "blank": file["blank"], "that go on a record": file["continued"]}
        counted = "".join(f" + {count:,} {what}" for what, count in others.items() if count)
        yield f"{file['file']}: {file['lines']:,} lines = {file['records']:,} records{counted}."
    yield (
        f"{file['file']}: {file['rows_in']:,} rows in = {file['rows_written']:,} written + {file['rejects']:,} rejected."
    )
    for reason, count in file["reasons"].items():
        yield f"  {count:,} × {reason}: {file['examples'][reason]}"
    if file["rejects"]:
        yield "  Rejected rows lie beside the days' rows, and are counted by the days' checks."
    if file["local_times_repeated"] or file["local_times_skipped"]:
        yield (
            f"  Local times at a change of the clocks: {file['local_times_repeated']:,} come twice, "
            f"{file['local_times_skipped']:,} do not exist."
        )
    if file["other_scenes"]:
        yield f"  Scenes that the mapping does not name: {file['other_scenes']}"


def _show_days(days: dict[str, int]) -> None:
    show_rows(
        [{"day": day, "rows": rows} for day, rows in sorted(days.items())],
        title="Days",
        as_json=False,
        empty="No rows.",
    )
