"""Late events: rows of a day that came with the raw files of a later one.

The arrival day publishes them in its table `late` and records in its manifest how many of which day and a digest of them. A
day's `logs` take in what the days after it hold for it when they are ingested. Whether they have is seen from the version
that their manifest names: it moves when late events come, go or change, and stays when an arrival day is ingested again with
the same ones.
"""

import hashlib
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from include.calendar import ONE_DAY, days_between
from include.lake.lake import Lake
from include.lake.manifest import Manifest

REACH = timedelta(days=31)
"""The most days that an event may come late: the maximum of the setting `late_days`."""


def late_key(day: date) -> str:
    """Return the name of a day's late events among the `inputs` of its `logs`."""
    return f"late/{day}"


def arrivals(lake: Lake, day: date) -> dict[date, Manifest]:
    """Return published `logs` of the days after `day`, up to `REACH`, that hold events of it, ascending.

    Not up to the setting `late_days` as it is now: what was accepted under a larger one stays.
    """
    later = days_between(day + ONE_DAY, day + REACH)
    manifests = {arrival: manifest for arrival in later if (manifest := lake.manifest("logs", arrival))}
    return {arrival: manifest for arrival, manifest in manifests.items() if late_part(manifest, day)["rows"]}


def late_part(manifest: Manifest, day: date) -> dict[str, Any]:
    """Return `{"rows", "digest"}` of the events of `day` that an arrival day's `logs` published."""
    part: dict[str, Any] = manifest.profile.get("late", {}).get(str(day), {"rows": 0, "digest": ""})
    return part


def version_of(arrived: Mapping[date, Manifest], day: date) -> str | None:
    """Return a short hash of the late events that arrival days hold for `day`; None where they hold none."""
    parts = [(arrival, late_part(manifest, day)) for arrival, manifest in sorted(arrived.items())]
    description = "\n".join(f"{arrival} {part['rows']} {part['digest']}" for arrival, part in parts)
    return hashlib.sha256(description.encode()).hexdigest()[:12] if parts else None


def late_version(lake: Lake, day: date) -> str | None:
    """Return the version of a day's late events as they are published now; None where there are none.

    `logs` of the day are out of date when their manifest has another one in `inputs[late_key(day)]`, or has none where this
    is not None, or has one where this is None: `manifest.inputs.get(late_key(day)) != late_version(lake, day)`.
    """
    return version_of(arrivals(lake, day), day)
