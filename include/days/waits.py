"""The wait of a run for its raw log: since when, until when, what for, and which notices were sent about it.

The record `wait` of a day is written by the DAG's `wait_for_raw` while the log is not complete. It decides which notices are
still to be sent, so that each is sent once, whatever is restarted or run again: it is written after the notice was handed over,
and a task that is killed in between sends it again. So does the record `raw_change` for files that changed after ingest.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from include.calendar import ONE_DAY
from include.days.day_status import current_version
from include.lake.lake import Lake
from include.raw.completeness import changed_since, waits_for
from include.raw.deliveries import Raw
from include.raw.raw_mapping import raw_mapping
from include.records import RawChange, Wait
from include.settings import get_settings

log = logging.getLogger(__name__)

LOOKED_BACK = 31
"""Newest days with a wait, or published, whose raw files are looked at when another day's run waits."""


@dataclass(frozen=True)
class News:
    """What a notice says about a wait; `run_goes_on` says whether a run has waited for the log until it came."""

    day: date
    kind: Literal["overdue", "missing", "came"]
    wait: Wait
    run_goes_on: bool = False


@dataclass(frozen=True)
class Change:
    """Files that came, or were replaced, after the day was ingested: it is stale until it is run again, as far as `last`."""

    day: date
    files: tuple[str, ...]
    last: date


Notify = Callable[[News | Change], None]


def look(lake: Lake, day: date, notify: Notify, *, first: bool) -> bool:
    """Return whether the day's log is complete, for a run that waits for it; `first` is its first look.

    Logs what the run waits for. Notifies, once, that the log is overdue, that the missing log of an earlier day has come, and
    at the first look that files of an earlier day have changed since they were ingested.
    """
    raw = Raw()
    missing = waits_for(raw, day)
    if first:
        _notify_changes(lake, raw, day, notify)
    _notify_arrivals(lake, raw, day, missing, notify)
    if missing is None:
        return True
    log.info("%s: %s", day, missing)
    now = datetime.now(UTC)
    before = lake.record(Wait, day)
    wait = _begin(day, now, before) if first or before is None else before
    wait = wait.model_copy(update={"waits_for": missing})
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
        due=_end_of(day) + timedelta(seconds=get_settings().raw_due_seconds),
        until=now + timedelta(seconds=get_settings().raw_wait_seconds),
        notified_at=before.notified_at if before and before.came_at is None else None,
    )


def _end_of(day: date) -> datetime:
    """Return when a log day ends, in the zone in which the log cuts its days."""
    zone = ZoneInfo(raw_mapping().time.days_in)
    return datetime.combine(day + ONE_DAY, time.min, zone).astimezone(UTC)


def _notify_arrivals(lake: Lake, raw: Raw, own: date, missing: str | None, notify: Notify) -> None:
    """Notify of each log that is complete by now; `missing` is what that of the run's own day lacks."""
    for day in sorted({*lake.record_days(Wait)[-LOOKED_BACK:], own}):
        wait = lake.record(Wait, day)
        if wait is None or wait.came_at or not raw.day_files(day):
            continue
        if missing if day == own else waits_for(raw, day):
            continue
        wait = wait.model_copy(update={"came_at": datetime.now(UTC)})
        if wait.notified_at:
            notify(News(day, "came", wait, run_goes_on=day == own))
        lake.write_record(wait)


def _notify_changes(lake: Lake, raw: Raw, own: date, notify: Notify) -> None:
    """Notify of each published day before `own` whose raw files differ from those that it was made from, once a change.

    Files that were cleared away are no change.
    """
    published = lake.days("logs")
    for day in [day for day in published if day < own][-LOOKED_BACK:]:
        manifest = lake.manifest("logs", day)
        digest = current_version(lake, f"raw/{day}")
        if manifest is None or digest is None or digest == manifest.inputs.get(f"raw/{day}"):
            continue
        before = lake.record(RawChange, day)
        if before and before.digest == digest:
            continue
        files = changed_since(raw, day, datetime.fromisoformat(manifest.created_at))
        notify(Change(day, files, published[-1]))
        lake.write_record(RawChange(day=day, digest=digest, files=list(files), notified_at=datetime.now(UTC)))
