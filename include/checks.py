"""The outcome of one data-quality check, as every package records it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, get_args

from pydantic import Field

from include.errors import DataQualityError
from include.json_model import JsonModel
from include.plural import counted

Severity = Literal["critical", "warning"]
Status = Literal["pass", "warning", "fail"]
Unit = Literal["rows", "ids", "counts", "columns", "tables", "days", "share", "rate", "auc"]


@dataclass(frozen=True)
class Measure:
    """The number that a check looked at, and the bounds that it was held to; None where there was none, or nothing to compare."""

    value: float
    low: float | None = None
    high: float | None = None
    unit: Unit = "rows"

    @property
    def within(self) -> bool:
        """True if the value lies within its bounds, the bounds included."""
        return (self.low is None or self.low <= self.value) and (self.high is None or self.value <= self.high)


class Check(JsonModel):
    """A check of a table (or of the model) on a day: `fail` if a critical one did not pass, `warning` if another did not.

    `failing_rows` is None where the table as a whole is at fault, as in its volume or CTR, and no row by itself; `sample`
    holds some of the rows that failed, sensitive columns masked.
    """

    table: str
    name: str
    column: str | None
    severity: Severity
    status: Status
    expected: str
    observed: str
    failing_rows: int | None
    measure: Measure | None = None
    sample: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def title(self) -> str:
        """Its name, with its column."""
        return f"{self.name} on {self.column}" if self.column else self.name

    def __str__(self) -> str:
        return f"{self.table}: {self.title}: expected {self.expected}, observed {self.observed}"


def check_result(
    table: str,
    name: str,
    ok: bool,
    expected: str,
    observed: str,
    *,
    column: str | None = None,
    severity: Severity = "critical",
    failing_rows: int | None = None,
    measure: Measure | None = None,
) -> Check:
    """Return a check that passed if `ok`."""
    return Check(
        table=table,
        name=name,
        column=column,
        severity=severity,
        status="pass" if ok else "fail" if severity == "critical" else "warning",
        expected=expected,
        observed=observed,
        failing_rows=0 if ok else failing_rows,
        measure=measure,
    )


def worst(checks: Iterable[Check]) -> Status:
    """Return the worst status among checks."""
    return max((check.status for check in checks), key=get_args(Status).index, default="pass")


def refuse_failed(stage: str, day: date, checks: Iterable[Check]) -> None:
    """Raise `DataQualityError` with what was expected and observed where a critical check failed."""
    if failed := [check for check in checks if check.status == "fail"]:
        raise DataQualityError(_failure_message(stage, day, failed), failed)


def _failure_message(stage: str, day: date, failed: list[Check]) -> str:
    return (
        f"{counted(len(failed), 'critical check')} failed on {stage} of {day}; nothing was published.\n"
        + "\n".join(f"- {check}" for check in failed)
        + f"\nNext: look at the rows (`ctr quarantine --day {day}`, `ctr quality --day {day}`), correct the raw files of {day} "
        "and clear the Spark task of this stage in Airflow, or repeat the command."
    )
