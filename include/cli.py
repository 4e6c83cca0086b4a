"""The `ctr` command line."""

import sys

import typer

from include.commands import register
from include.console import err, show_json
from include.errors import CtrError

cli = typer.Typer(
    name="ctr",
    help="Daily CTR retraining: sample and import logs, load history, look at days, data quality and models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
register(cli)


def app() -> None:
    """Runs the command line; an error that a person can act on is told in its own words, with exit status 2."""
    try:
        cli()
    except CtrError as error:
        if "--json" in sys.argv:
            show_json({"error": str(error), "kind": type(error).__name__})
        else:
            err.print(f"[bold red]Error:[/] {type(error).__name__}", highlight=False)
            err.print(str(error), markup=False, highlight=False)
        raise SystemExit(2) from None
