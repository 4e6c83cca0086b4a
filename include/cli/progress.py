"""Progress bars of long commands: on standard error, gone when done, absent with `--json`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from include.console import err

T = TypeVar("T")


@contextmanager
def bar(what: str, total: float, *, as_json: bool) -> Iterator[Callable[[float], None]]:
    """A bar of `total` units; call what it yields with the units done so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=as_json) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def steps(what: str, total: int, *, as_json: bool) -> Iterator[Callable[[T], T]]:
    """A bar of `total` steps; pass each step's result through what it yields."""
    done = 0

    with bar(what, total, as_json=as_json) as show:

        def step(result: T) -> T:
            nonlocal done
            done += 1
            show(done)
            return result

        yield step
