"""Quality records of many days: each file is parsed once, and again when it has been replaced."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from threading import Lock
from typing import Any, NamedTuple

from include.lake import Lake
from include.schemas import CHECKED, Checked

RANK = {"pass": 0, "warning": 1, "fail": 2}
"""Statuses, the worst last."""


class Check(NamedTuple):
    """What makes a check the same check on another day."""

    stage: Checked
    table: str
    name: str
    column: str | None

    @property
    def id(self) -> str:
        """A short name for links."""
        return hashlib.sha256("\0".join([*self[:3], self.column or ""]).encode()).hexdigest()[:12]


class Result(NamedTuple):
    """A check's outcome on one day, without its sample of rows."""

    status: str
    severity: str
    expected: str
    observed: str
    failing_rows: int
    measure: dict[str, Any] | None


@dataclass(frozen=True)
class Audited:
    """One quality record: all checks of a stage's day, of its latest attempt."""

    build: str
    rows: int
    status: str
    results: dict[Check, Result]


class QualityRecords:
    """The quality records of a lake."""

    def __init__(self, store: Lake) -> None:
        self._store = store
        self._known: dict[tuple[Checked, date], tuple[str, Audited]] = {}
        self._lock = Lock()

    def stamps(self) -> dict[Checked, dict[date, str]]:
        """The days with a record, of each stage, with a stamp that changes when the record is replaced."""
        return {stage: self._store.record_stamps(f"quality/{stage}") for stage in CHECKED}

    def audited(self, days: Collection[date]) -> dict[date, dict[Checked, Audited]]:
        """The records of these days, by day and stage."""
        found: dict[date, dict[Checked, Audited]] = {}
        for stage, stamps in self.stamps().items():
            for day in stamps.keys() & set(days):
                if audited := self._audited(stage, day, stamps[day]):
                    found.setdefault(day, {})[stage] = audited
        return found

    def _audited(self, stage: Checked, day: date, stamp: str) -> Audited | None:
        with self._lock:
            known = self._known.get((stage, day))
        if known and known[0] == stamp:
            return known[1]
        record = self._store.record(f"quality/{stage}", day)
        if record is None:  # removed since it was listed
            return None
        audited = _parsed(stage, record)
        with self._lock:
            self._known[stage, day] = stamp, audited
        return audited


def _parsed(stage: Checked, record: dict[str, Any]) -> Audited:
    results: dict[Check, Result] = {}
    for each in record["checks"]:
        check = Check(stage, each["table"], each["name"], each["column"])
        result = Result(*(each.get(name) for name in Result._fields))
        if check not in results or RANK[result.status] > RANK[results[check].status]:
            results[check] = result
    return Audited(record["build"], record["rows"], record["status"], results)
