"""Quality records of many days: each file is parsed once, and again after it was replaced."""

import hashlib
from dataclasses import dataclass
from datetime import date
from threading import Lock
from typing import NamedTuple

from include.checks import Measure
from include.lake.lake import Lake
from include.records import Quality
from include.stages import CHECKED, Checked

RANK = {"pass": 0, "warning": 1, "fail": 2}
"""Statuses, the worst last."""


class CheckKey(NamedTuple):
    """The identity of a check across days."""

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
    failing_rows: int | None
    measure: Measure | None


@dataclass(frozen=True)
class Audited:
    """One quality record: all checks of a stage's day, of its latest attempt."""

    build: str
    rows: int
    status: str
    results: dict[CheckKey, Result]


class QualityRecords:
    """The quality records of a lake, cached parsed in the process."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._cache: dict[tuple[Checked, date], tuple[str, Audited]] = {}
        self._lock = Lock()

    def history(self) -> "History":
        """Return the records as of now; lists each folder once."""
        stamps = {stage: self._lake.record_stamps(f"quality/{stage}") for stage in CHECKED}
        with self._lock:
            for stage, day in [key for key in self._cache if key[1] not in stamps[key[0]]]:
                del self._cache[stage, day]
        return History(self, stamps)

    def parsed(self, stage: Checked, day: date, stamp: str) -> Audited | None:
        """Return one record; None where it was removed since it was listed."""
        with self._lock:
            cached = self._cache.get((stage, day))
        if cached and cached[0] == stamp:
            return cached[1]
        record = self._lake.quality(stage, day)
        if record is None:
            return None
        audited = _parsed(stage, record)
        with self._lock:
            self._cache[stage, day] = stamp, audited
        return audited


class History:
    """The quality records of one moment, for one request."""

    def __init__(self, records: QualityRecords, stamps: dict[Checked, dict[date, str]]) -> None:
        self._records = records
        self._stamps = stamps

    def days(self, stage: Checked | None = None) -> list[date]:
        """Return the days with a record of a stage, or of any, ascending."""
        return sorted({day for name in CHECKED if stage in (None, name) for day in self._stamps[name]})

    def audited(self, stage: Checked, day: date) -> Audited | None:
        """Return the record of a stage's day; None where there is none."""
        stamp = self._stamps[stage].get(day)
        return self._records.parsed(stage, day, stamp) if stamp else None


def _parsed(stage: Checked, record: Quality) -> Audited:
    results: dict[CheckKey, Result] = {}
    for entry in record.checks:
        check = CheckKey(stage, entry.table, entry.name, entry.column)
        result = Result(*(getattr(entry, name) for name in Result._fields))
        if check not in results or RANK[result.status] > RANK[results[check].status]:
            results[check] = result
    return Audited(record.build, record.rows, record.status, results)
