"""The record of one data-quality check, as every package writes it; `docs/architecture.md` describes its fields."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Record = dict[str, Any]
Severity = Literal["critical", "warning"]
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


def record(
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
) -> Record:
    """Return the record of one check; `ok` false gives `fail` for a critical check and `warning` for another.

    `failing_rows` is left out where the table as a whole is at fault, as in its volume or CTR, and no row by itself.
    """
    status = "pass" if ok else "fail" if severity == "critical" else "warning"
    return {
        "table": table,
        "name": name,
        "column": column,
        "severity": severity,
        "status": status,
        "expected": expected,
        "observed": observed,
        "failing_rows": 0 if ok else failing_rows,
        "measure": asdict(measure) if measure else None,
    }


def named(check: Record) -> str:
    """Return the name of a check, with its column."""
    return f"{check['name']} on {check['column']}" if check.get("column") else str(check["name"])


def worst(records: Iterable[Record]) -> str:
    """Return the worst status among records: `fail`, `warning` or `pass`."""
    seen = {check["status"] for check in records}
    return next((status for status in ("fail", "warning") if status in seen), "pass")
