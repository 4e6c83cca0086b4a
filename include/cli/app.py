"""The `ctr` command line."""

import typer

from include.cli import (
    backfill,
    demo,
    health,
    history,
    imports,
    map,
    models,
    monitor,
    quality,
    records,
    sample,
    settings,
    status,
    training_commands,
)
from include.console import Verbose, exit_clearly, set_up_logging
from include.lake.fail_fast import fail_fast

cli = typer.Typer(
    name="ctr",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for family in (
    sample,
    imports,
    map,
    models,
    history,
    status,
    backfill,
    quality,
    monitor,
    health,
    training_commands,
    settings,
    records,
    demo,
):
    family.register(cli)


@cli.callback()
def options(verbose: Verbose = False) -> None:
    """Daily CTR retraining: sample and import logs, load history, look at days, data quality and models."""
    set_up_logging(verbose)


def app() -> None:
    """Run the command line."""
    fail_fast()
    with exit_clearly():
        cli()
