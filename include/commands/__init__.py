"""The commands of `ctr`, one module for each family; heavy imports stay inside the functions."""

import typer


def register(cli: typer.Typer) -> None:
    """Adds every command to the command line."""
