"""Progress bars of long commands: on standard error, gone when done, absent with `--json`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from include.console import err

T = TypeVar("T")


@contextmanager
def bar(label: str, total: float, *, as_json: bool) -> Iterator[Callable[[float], None]]:
    """Show a bar of `total` units; call the function that it yields with the units done so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=as_json) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def steps(label: str, total: int, *, as_json: bool) -> Iterator[Callable[[T], T]]:
    """Show a bar of `total` steps; pass each step's result through the function that it yields."""
    done = 0

    with bar(label, total, as_json=as_json) as show:

        def step(result: T) -> T:
            nonlocal done
            done += 1
            show(done)
            return result

        yield step
