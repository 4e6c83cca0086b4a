"""The `ctr` command line."""

import typer

from include.commands import register
from include.console import exit_clearly
from include.patience import fail_fast

cli = typer.Typer(
    name="ctr",
    help="Daily CTR retraining: sample and import logs, load history, look at days, data quality and models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
register(cli)


def app() -> None:
    """Runs the command line."""
    fail_fast()
    with exit_clearly():
        cli()
