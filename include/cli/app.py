"""The `ctr` command line."""

import typer

from include.cli import (
    backfill,
    demo,
    features,
    health,
    history,
    imports,
    leak_demo,
    models,
    monitor,
    quality,
    sample,
    settings,
    status,
)
from include.console import exit_clearly
from include.lake.fail_fast import fail_fast

cli = typer.Typer(
    name="ctr",
    help="Daily CTR retraining: sample and import logs, load history, look at days, data quality and models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for family in (
    sample,
    imports,
    models,
    history,
    status,
    backfill,
    features,
    quality,
    monitor,
    health,
    leak_demo,
    settings,
    demo,
):
    family.register(cli)


def app() -> None:
    """Run the command line."""
    fail_fast()
    with exit_clearly():
        cli()
