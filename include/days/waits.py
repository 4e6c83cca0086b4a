"""The wait of a run for its raw log: since when, until when, and what has been told about it.

The record `wait` of a day is written by the DAG's `wait_for_raw` while the log is not there. It decides what is still to be
told, so that a notice is sent once, whatever is restarted or run again: it is written after the notice was handed over, and a
task that is killed in between tells it again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from pydantic import BaseModel

from include.calendar import day_bounds
from include.lake.lake import Lake
from include.raw.deliveries import Raw
from include.settings import get_settings

LOOKED_BACK = 31
"""Newest days with a wait whose logs are looked for when another day's run waits."""


class Wait(BaseModel, frozen=True):
    """The last wait for a day's log, in UTC.

    The log is expected by `due`; the run gives up at `until`. `notified_at`: when it was told that the log has not come;
    `came_at`: when the log was found after all; `gave_up_at`: when the run was skipped without it.
    """

    since: datetime
    due: datetime
    until: datetime
    notified_at: datetime | None = None
    came_at: datetime | None = None
    gave_up_at: datetime | None = None


@dataclass(frozen=True)
class News:
    """What a person is told about a wait; `run_goes_on` says whether a run has waited for the log until it came."""

    day: date
    kind: Literal["overdue", "missing", "came"]
    wait: Wait
    run_goes_on: bool = False


Tell = Callable[[News], None]


def wait_of(store: Lake, day: date) -> Wait | None:
    """The last wait for a day's log; None where no run has had to wait for it."""
    record = store.record("wait", day)
    return Wait.model_validate(record) if record else None


def look(store: Lake, day: date, tell: Tell, *, first: bool) -> bool:
    """Whether the day's log is there, for a run that waits for it; `first` is its first look.

    Tells, once, that the log is overdue, and of every earlier day too that its missing log has come.
    """
    _tell_arrivals(store, day, tell)
    if Raw().has_log(day):
        return True
    now, known = datetime.now(UTC), wait_of(store, day)
    wait = _begin(day, now, known) if first or known is None else known
    if wait.notified_at is None and now >= wait.due:
        tell(News(day, "overdue", wait))
        wait = wait.model_copy(update={"notified_at": now})
    if wait != known:
        _write(store, day, wait)
    return False


def give_up(store: Lake, day: date, tell: Tell) -> None:
    """The run is skipped: tells so, unless it has been told that the log is overdue."""
    now, known = datetime.now(UTC), wait_of(store, day)
    wait = (known or _begin(day, now, None)).model_copy(update={"gave_up_at": now})
    if wait.notified_at is None:
        tell(News(day, "missing", wait))
        wait = wait.model_copy(update={"notified_at": now})
    _write(store, day, wait)


def _begin(day: date, now: datetime, before: Wait | None) -> Wait:
    """A wait that begins; what an earlier run has told stays told until the log has come."""
    return Wait(
        since=now,
        due=day_bounds(day)[1] + timedelta(seconds=get_settings().raw_due_seconds),
        until=now + timedelta(seconds=get_settings().raw_wait_seconds),
        notified_at=before.notified_at if before and before.came_at is None else None,
    )


def _tell_arrivals(store: Lake, own: date, tell: Tell) -> None:
    for day in sorted({*store.record_days("wait")[-LOOKED_BACK:], own}):
        wait = wait_of(store, day)
        if wait is None or wait.came_at or not Raw().day_files(day):
            continue
        wait = wait.model_copy(update={"came_at": datetime.now(UTC)})
        if wait.notified_at:
            tell(News(day, "came", wait, run_goes_on=day == own))
        _write(store, day, wait)


def _write(store: Lake, day: date, wait: Wait) -> None:
    store.write_record("wait", day, wait.model_dump(mode="json"))
