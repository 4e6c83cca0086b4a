"""The wait of a run for its raw log: since when, until when, and which notices were sent about it.

The record `wait` of a day is written by the DAG's `wait_for_raw` while the log is missing. It decides which notices are still to
be sent, so that each is sent once, whatever is restarted or run again: it is written after the notice was handed over, and a task
that is killed in between sends it again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from include.calendar import day_bounds
from include.lake.lake import Lake
from include.raw.deliveries import Raw
from include.records import Wait
from include.settings import get_settings

LOOKED_BACK = 31
"""Newest days with a wait whose logs are looked for when another day's run waits."""


@dataclass(frozen=True)
class News:
    """What a notice says about a wait; `run_goes_on` says whether a run has waited for the log until it came."""

    day: date
    kind: Literal["overdue", "missing", "came"]
    wait: Wait
    run_goes_on: bool = False


Notify = Callable[[News], None]


def look(lake: Lake, day: date, notify: Notify, *, first: bool) -> bool:
    """Return whether the day's log has come, for a run that waits for it; `first` is its first look.

    Notifies, once, that the log is overdue, and that the missing log of an earlier day has come.
    """
    _notify_arrivals(lake, day, notify)
    if Raw().has_log(day):
        return True
    now = datetime.now(UTC)
    before = lake.record(Wait, day)
    wait = _begin(day, now, before) if first or before is None else before
    if wait.notified_at is None and now >= wait.due:
        notify(News(day, "overdue", wait))
        wait = wait.model_copy(update={"notified_at": now})
    if wait != before:
        lake.write_record(wait)
    return False


def give_up(lake: Lake, day: date, notify: Notify) -> None:
    """Record that the run is skipped, and notify of it unless a notice has said that the log is overdue."""
    now = datetime.now(UTC)
    before = lake.record(Wait, day)
    wait = (before or _begin(day, now, None)).model_copy(update={"gave_up_at": now})
    if wait.notified_at is None:
        notify(News(day, "missing", wait))
        wait = wait.model_copy(update={"notified_at": now})
    lake.write_record(wait)


def _begin(day: date, now: datetime, before: Wait | None) -> Wait:
    """Return a new wait; a notice that an earlier run has sent counts until the log has come."""
    return Wait(
        day=day,
        since=now,
        due=day_bounds(day)[1] + timedelta(seconds=get_settings().raw_due_seconds),
        until=now + timedelta(seconds=get_settings().raw_wait_seconds),
        notified_at=before.notified_at if before and before.came_at is None else None,
    )


def _notify_arrivals(lake: Lake, own: date, notify: Notify) -> None:
    for day in sorted({*lake.record_days(Wait)[-LOOKED_BACK:], own}):
        wait = lake.record(Wait, day)
        if wait is None or wait.came_at or not Raw().day_files(day):
            continue
        wait = wait.model_copy(update={"came_at": datetime.now(UTC)})
        if wait.notified_at:
            notify(News(day, "came", wait, run_goes_on=day == own))
        lake.write_record(wait)
