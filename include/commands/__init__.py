"""The commands of `ctr`, one module for each family; heavy imports stay inside the functions."""

import typer

from include.commands import days, demo, history, imports, models, quality, sample


def register(cli: typer.Typer) -> None:
    """Adds every command to the command line."""
    sample.register(cli)
    imports.register(cli)
    models.register(cli)
    history.register(cli)
    days.register(cli)
    quality.register(cli)
    demo.register(cli)
