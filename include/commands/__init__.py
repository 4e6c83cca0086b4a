"""The commands of `ctr`, one module for each family; heavy imports stay inside the functions."""

import typer

from include.commands import (
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
    status,
)


def register(cli: typer.Typer) -> None:
    """Adds every command to the command line."""
    sample.register(cli)
    imports.register(cli)
    models.register(cli)
    history.register(cli)
    status.register(cli)
    backfill.register(cli)
    features.register(cli)
    quality.register(cli)
    monitor.register(cli)
    health.register(cli)
    leak_demo.register(cli)
    demo.register(cli)
