"""The commands of `ctr`, one module for each family; heavy imports stay inside the functions."""

import typer

from include.commands import imports, models, sample


def register(cli: typer.Typer) -> None:
    """Adds every command to the command line."""
    sample.register(cli)
    imports.register(cli)
    models.register(cli)
