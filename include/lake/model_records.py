"""The records of a model version: how it was trained, evaluated, judged and decided on, on a log day.

A day that is run again trains another version. The newest records of the day are then about that one; those about the version
before stay under its number (`lake.write_record`).
"""

from dataclasses import dataclass
from datetime import date

from include.lake.lake import Lake, R
from include.records import Decision, Evaluation, Train


@dataclass(frozen=True)
class ModelRecords:
    """How a version was trained, evaluated and decided on; None where there is no such record."""

    train: Train | None = None
    evaluation: Evaluation | None = None
    decision: Decision | None = None

    @property
    def version(self) -> int | None:
        """The version that they are about."""
        return next((record.about for record in (self.train, self.evaluation, self.decision) if record), None)


def records_of_version(lake: Lake, day: date, version: int) -> ModelRecords:
    """Return the records of a day that are about a version, also where the day has trained another one since."""
    return ModelRecords(
        _about(lake, Train, day, version),
        _about(lake, Evaluation, day, version),
        _about(lake, Decision, day, version),
    )


def records_of_day(lake: Lake, day: date) -> ModelRecords:
    """Return the records about the version that the day has trained last; those about an earlier version are not among them."""
    newest = lake.record(Train, day) or lake.record(Decision, day)
    return records_of_version(lake, day, newest.about) if newest and newest.about is not None else ModelRecords()


def _about(lake: Lake, kind: type[R], day: date, version: int) -> R | None:
    newest = lake.record(kind, day)
    return newest if newest and newest.about == version else lake.record(kind, day, version)
