"""`ctr import mind` and `ctr import csv`: other logs as raw logs."""

from typing import Annotated, Any

import typer

from include.console import JsonFlag, out, show_json, show_rows

ReplaceFlag = Annotated[bool, typer.Option("--replace", help="Replace another input imported under the same name.")]


def register(cli: typer.Typer) -> None:
    """Add the `ctr import` commands."""
    group = typer.Typer(name="import", help="Import other logs as raw logs under CTR_RAW.", no_args_is_help=True)
    group.command("mind")(mind)
    group.command("csv")(from_csv)
    cli.add_typer(group)


def mind(
    behaviors: Annotated[str, typer.Option(help="MIND's behaviors.tsv, plain or .gz; a path or URL.")],
    news: Annotated[str, typer.Option(help="MIND's news.tsv, plain or .gz; a path or URL.")],
    replace: ReplaceFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Import a MIND-layout news log: one raw row for each item shown, its scene the item's category group."""
    from include.cli.progress import bar
    from include.raw.deliveries import Raw
    from include.raw.mind import MIND_SCENES, import_mind
    from include.settings import list_text

    with bar("Importing", total=1, as_json=as_json) as progress:
        report = import_mind(behaviors, news, replace=replace, progress=progress)
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


def from_csv(
    inputs: Annotated[list[str], typer.Argument(help="Files or URLs, plain or compressed.")],
    mapping: Annotated[str, typer.Option(help="A YAML mapping, or the name of a bundled one: antm2c.")],
    replace: ReplaceFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Import any delimited log by a mapping; rows without a readable time go to `_rejects/`, with the reason."""
    from include.cli.progress import bar
    from include.raw.csv_import import import_csv
    from include.raw.deliveries import Raw
    from include.raw.mapping import read_mapping

    rule = read_mapping(mapping)
    with bar("Importing", total=1, as_json=as_json) as progress:
        reports = import_csv(inputs, rule, replace=replace, progress=progress)
    days: dict[str, int] = {}
    for report in reports:
        for day, rows in report.imported.days.items():
            days[day] = days.get(day, 0) + rows
    files: list[dict[str, Any]] = [
        {
            "file": report.imported.source,
            "rows_in": report.imported.rows_in,
            "rows_written": report.imported.rows_written,
            "rejects": report.imported.rejects,
            "reasons": dict(report.reasons),
            "rejects_file": f"{Raw().url}/{report.rejects_file}" if report.rejects_file else None,
            "other_scenes": dict(report.other_scenes.most_common(20)),
        }
        for report in reports
    ]
    if as_json:
        show_json({"raw": Raw().url, "days": dict(sorted(days.items())), "files": files})
        return
    _show_days(days)
    for file in files:
        out.print(
            f"{file['file']}: {file['rows_in']:,} rows in = {file['rows_written']:,} written + {file['rejects']:,} rejected.",
            *(f"  {count:,} × {reason}" for reason, count in file["reasons"].items()),
            *([f"  Rejected rows: {file['rejects_file']}"] if file["rejects_file"] else []),
            *([f"  Scenes that the mapping does not name: {file['other_scenes']}"] if file["other_scenes"] else []),
            sep="\n",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
    out.print(f"Raw logs: {Raw().url}", highlight=False, soft_wrap=True)


def _show_days(days: dict[str, int]) -> None:
    show_rows(
        [{"day": day, "rows": rows} for day, rows in sorted(days.items())],
        title="Days",
        as_json=False,
        empty="No rows.",
    )
