"""The output of every `ctr` command: a rich table for people, JSON for scripts, errors on standard error."""

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from include.errors import CtrError, NothingToDoError, UnavailableError, storage_error
from include.json_model import JsonModel

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]
"""The `--json` option that every command takes."""

Verbose = Annotated[bool, typer.Option("--verbose", help="Log more, also of the libraries, to standard error.")]
PACKAGES = ("include", "plugins", "spark_jobs", "training")

out = Console(width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True)
WARNING = "Warning: "
"""The beginning of a line of the log that is a warning."""
_WIDEST = 1000
_FEW_ROWS = 5


def show_json(data: Any) -> None:
    """Print one JSON document, or a record as one, on standard output, nothing else."""
    content = data.as_json() if isinstance(data, JsonModel) else data
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False, default=str))


class _Labelled(logging.Formatter):
    """The message; behind its level from a warning on."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"{record.levelname.title()}: {text}" if record.levelno >= logging.WARNING else text


def set_up_logging(verbose: bool = False) -> None:
    """Write the project's log to standard error, beside progress bars; `verbose`: also what libraries log as information."""
    handler: logging.Handler = logging.StreamHandler()  # one line for each message, however long
    if err.is_terminal:
        handler = RichHandler(
            console=err, show_time=False, show_level=verbose, show_path=verbose, highlighter=NullHighlighter()
        )
    handler.setFormatter(_Labelled())
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    for package in PACKAGES:
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)


@contextmanager
def exit_clearly() -> Iterator[None]:
    """Print an error that a person can act on and exit with status 2; with 3 where there is nothing to do,
    with 1 where a service is unavailable and the same command may succeed later."""
    try:
        yield
    except NothingToDoError as error:
        err.print(str(error), markup=False, highlight=False)
        raise SystemExit(error.exit_status) from None
    except (CtrError, UnavailableError) as error:
        _refuse(error)
    except OSError as error:
        if (refusal := storage_error(error)) is None:
            raise
        _refuse(refusal)


def _refuse(error: CtrError | UnavailableError) -> NoReturn:
    if "--json" in sys.argv:
        show_json({"error": str(error), "kind": type(error).__name__})
    else:
        err.print(f"[bold red]Error:[/] {type(error).__name__}", highlight=False)
        err.print(str(error), markup=False, highlight=False)
    raise SystemExit(error.exit_status) from None


def show_rows(rows: Sequence[dict[str, Any]], *, title: str, as_json: bool, empty: str) -> None:
    """Print rows with the same keys as a table, or as a JSON list; `empty` is printed where there are none."""
    if as_json:
        show_json(list(rows))
        return
    if not rows:
        out.print(Text(empty))
        return
    table = _table(rows, title)
    natural = Measurement.get(out, out.options.update(width=_WIDEST), table).maximum
    if natural > out.width and len(rows) <= _FEW_ROWS:
        table = _table_by_column(rows, title)  # a few rows that are too wide are shown as columns
    out.print(table)


def _table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for name, value in rows[0].items():
        justify: Literal["left", "right"] = "right" if isinstance(value, int | float) else "left"
        table.add_column(name.replace("_", " "), justify=justify, overflow="fold", no_wrap=not table.columns)
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _table_by_column(rows: Sequence[dict[str, Any]], title: str) -> Table:
    first, *names = rows[0]
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column(first.replace("_", " "))
    for row in rows:
        table.add_column(str(row[first]), justify="right")
    for name in names:
        table.add_row(name.replace("_", " "), *(_cell(row[name]) for row in rows))
    return table


def _cell(value: Any) -> Text:
    if value is None:
        return Text("–", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, int):
        return Text(f"{value:,}")
    if isinstance(value, float):
        return Text(f"{value:.4f}")
    return Text(
        str(value), style={"fail": "red", "reject": "red", "promote": "green", "pass": "green"}.get(str(value), "")
    )
