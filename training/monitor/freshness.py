"""The age of a day's inputs: its tables, its champion and its raw files."""

from datetime import UTC, date, datetime

from include.lake.lake import Lake
from include.metrics_records import Freshness, PublishedUntil
from include.raw.deliveries import Raw
from include.stages import STAGES


def freshness(lake: Lake, day: date, trained_through: date | None, now: datetime) -> Freshness:
    """Return the age at `now` of the inputs of `day`; `trained_through` is the champion's. Missing values are None."""
    arrived = _arrived(day)
    return Freshness(
        published={stage: _last(lake.days(stage), day) for stage in STAGES},
        model_age_days=(day - trained_through).days if trained_through else None,
        raw_arrived_at=arrived.isoformat(timespec="seconds") if arrived else None,
        seconds_since_raw=round((now - arrived).total_seconds()) if arrived else None,
    )


def _last(days: list[date], day: date) -> PublishedUntil:
    last = max((published for published in days if published <= day), default=None)
    return PublishedUntil(last=last, days_behind=(day - last).days if last else None)


def _arrived(day: date) -> datetime | None:
    """Return when the newest of the day's raw files was written; without a time zone in the file system, the process's
    own is used."""
    raw = Raw()
    times = [raw.fs.modified(raw.full(path)) for path in raw.day_files(day)]
    return max((time.astimezone(UTC) for time in times), default=None)
