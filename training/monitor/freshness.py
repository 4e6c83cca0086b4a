"""The age of a day's inputs: its tables, its champion and its raw files."""

from datetime import UTC, date, datetime
from typing import Any

from include.lake.lake import Lake
from include.raw.deliveries import Raw, day_folder
from include.stages import STAGES


def freshness(lake: Lake, day: date, trained_through: date | None, now: datetime) -> dict[str, Any]:
    """Return the part `freshness` of the record `monitor`; missing values are None.

    `published` maps each stage to its last published day up to `day` and how many days that is behind; `model_age_days`
    is how long before `day` the champion's training rows end; `seconds_since_raw` runs from the last change of the
    day's raw files to `now`.
    """
    arrived = _arrived(day)
    return {
        "published": {stage: _last(lake.days(stage), day) for stage in STAGES},
        "model_age_days": (day - trained_through).days if trained_through else None,
        "raw_arrived_at": arrived.isoformat(timespec="seconds") if arrived else None,
        "seconds_since_raw": round((now - arrived).total_seconds()) if arrived else None,
    }


def _last(days: list[date], day: date) -> dict[str, Any]:
    last = max((published for published in days if published <= day), default=None)
    return {"last": str(last) if last else None, "days_behind": (day - last).days if last else None}


def _arrived(day: date) -> datetime | None:
    """Return when the newest of the day's raw files was written; without a time zone in the file system, the process's
    own is used."""
    raw = Raw()
    times = [raw.fs.modified(raw.full(f"{day_folder(day)}/{name}")) for name in raw.day_files(day)]
    return max((time.astimezone(UTC) for time in times), default=None)
