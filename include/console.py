"""How every `ctr` command speaks: a rich table for people, JSON for scripts, errors on standard error."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]
"""The `--json` option that every command takes."""

out = Console()
err = Console(stderr=True)


def show_json(data: Any) -> None:
    """Prints one JSON document on standard output, nothing else."""
    typer.echo(json.dumps(data, indent=1, ensure_ascii=False, default=str))


def show_rows(rows: Sequence[dict[str, Any]], *, title: str, as_json: bool, empty: str) -> None:
    """Prints rows with the same keys as a table, or as a JSON list; `empty` is said where there are none."""
    if as_json:
        show_json(list(rows))
        return
    if not rows:
        out.print(Text(empty))
        return
    table = Table(title=title, title_justify="left", header_style="bold")
    for name, value in rows[0].items():
        table.add_column(name.replace("_", " "), justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    out.print(table)


def _cell(value: Any) -> Text:
    if value is None:
        return Text("–", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, int):
        return Text(f"{value:,}")
    if isinstance(value, float):
        return Text(f"{value:.4f}")
    return Text(str(value), style={"fail": "red", "reject": "red", "promote": "green", "pass": "green"}.get(str(value), ""))
