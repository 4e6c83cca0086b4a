"""The records of a model version: how it was trained, evaluated, judged and decided on, on a log day.

A day that is run again trains another version. The newest records of the day are then about that one; those about the version
before stay under its number (`lake.write_record`).
"""

from datetime import date
from typing import Any

from include.lake.lake import Lake

MODEL_RECORDS = ("train", "evaluation", "decision")
Records = dict[str, dict[str, Any] | None]
"""Each of `MODEL_RECORDS`; None where there is none."""


def records_of_version(store: Lake, day: date, version: int) -> Records:
    """Return the records of a day that are about a version, also where the day has trained another one since."""
    return {kind: _about(store, kind, day, version) for kind in MODEL_RECORDS}


def records_of_day(store: Lake, day: date) -> Records:
    """Return the records about the version that the day has trained last; those about an earlier version are not among them."""
    train = store.record("train", day)
    version = train["version"] if train else (store.record("decision", day) or {}).get("candidate")
    return dict.fromkeys(MODEL_RECORDS) if version is None else records_of_version(store, day, version)


def _about(store: Lake, kind: str, day: date, version: int) -> dict[str, Any] | None:
    newest = store.record(kind, day)
    return newest if newest and _version_of(newest) == version else store.record(kind, day, version)


def _version_of(record: dict[str, Any]) -> int | None:
    """Return the version that a record is about: each kind names it in its own way."""
    candidate = record.get("candidate", record.get("version"))
    return candidate["version"] if isinstance(candidate, dict) else candidate
