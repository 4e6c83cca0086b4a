"""The record of one data-quality check, as every room writes it; `docs/architecture.md` tells its fields."""

from collections.abc import Iterable
from typing import Any

from include.suites import Severity

Record = dict[str, Any]


def record(
    table: str,
    name: str,
    ok: bool,
    expected: str,
    observed: str,
    *,
    column: str | None = None,
    severity: Severity = "critical",
    failing_rows: int = 0,
) -> Record:
    """One check's record; `ok` false gives `fail` for a critical check and `warning` for another."""
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
    }


def worst(records: Iterable[Record]) -> str:
    """`fail`, `warning` or `pass`: the worst status among records."""
    seen = {each["status"] for each in records}
    return next((status for status in ("fail", "warning") if status in seen), "pass")
