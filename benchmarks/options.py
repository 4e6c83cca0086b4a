"""The command lines of benchmarks: options that several have, and the run of their `main`."""

from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from include.calendar import parse_day
from include.console import exit_clearly

Days = Annotated[list[date], typer.Option(parser=parse_day, metavar="DAY")]
"""Log days; the option is repeated."""
Out = Annotated[Path | None, typer.Option(help="JSON file; default .ctr/bench/BENCHMARK-….json")]


def one_of(names: Collection[str]) -> Any:
    """Return the option whose values are among `names`, for a list or names that are no literals."""

    def parse(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"'{text}' is none of {', '.join(names)}.")
        return text

    return typer.Option(parser=parse, metavar=f"[{'|'.join(names)}]")


def run_benchmark(main: Callable[..., None]) -> None:
    """Run a benchmark with the options of its command line; an error that a person can act on ends it with status 2."""
    cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    cli.command()(main)
    with exit_clearly():
        cli()
