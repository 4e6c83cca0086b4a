"""Checks of what the day's raw files held, from the summaries that reading them gave (`include/raw/reading/day_rows.py`)."""

from collections.abc import Iterator
from typing import Any

from include.checks import Check, Measure, check_result
from include.plural import counted
from include.raw.row_rules import DUPLICATE

MAX_DUPLICATES = 0.01
"""Warning above this share of rows that equal an earlier one."""
MAX_UNCLEAR_TIMES = 0.001
"""Warning above this share of local times that a change of the clocks repeats or leaves out."""
_RULES = {
    "reject": "a row that is the same event as an earlier one is rejected",
    "keep": "equal rows are kept, as no time of the day has seconds, or the mapping says so",
}


def file_checks(profile: dict[str, Any], rows_in: int) -> Iterator[Check]:
    """Yield the checks of a day's files; `profile` is that of its logs, with the rejected rows by reason."""
    files = profile.get("files", [])
    if not files:
        return
    yield from _promised(profile.get("promised"), {file["file"]: file.get("records", 0) for file in files})
    yield _duplicates(profile["duplicates"], profile["quarantined"].get(DUPLICATE, 0), rows_in)
    repeated, skipped = (sum(file.get(name, 0) for file in files) for name in ("repeated", "skipped"))
    if repeated or skipped:
        share = (repeated + skipped) / rows_in
        yield check_result(
            "logs",
            "expect_local_times_clear",
            share <= MAX_UNCLEAR_TIMES,
            f"at most {MAX_UNCLEAR_TIMES:.1%} of the local times at a change of the clocks",
            f"{repeated:,} come twice that day, {skipped:,} do not exist",
            column="log_ts",
            severity="warning",
            failing_rows=repeated + skipped,
            measure=Measure(share, high=MAX_UNCLEAR_TIMES, unit="share"),
        )


def _promised(promised: dict[str, int] | int | None, records: dict[str, int]) -> Iterator[Check]:
    """Yield the check that files have the rows that the deliverer's manifest promises, where one does."""
    if promised is None:
        return
    if isinstance(promised, int):
        promised, records = {"the day": promised}, {"the day": sum(records.values())}
    wrong = {name: rows for name, rows in promised.items() if records.get(name, 0) != rows}
    missing = sum(abs(records.get(name, 0) - rows) for name, rows in wrong.items())
    found = "; ".join(f"{name}: {records.get(name, 0):,} of {rows:,}" for name, rows in list(wrong.items())[:5])
    yield check_result(
        "logs",
        "expect_rows_promised",
        not wrong,
        f"{sum(promised.values()):,} rows, as the manifest promises for {counted(len(promised), 'file')}",
        found or f"{sum(records.values()):,} rows",
        failing_rows=missing,
        measure=Measure(missing, high=0),
    )


def _duplicates(rule: str, rejected: int, rows_in: int) -> Check:
    share = rejected / rows_in if rows_in else 0.0
    return check_result(
        "logs",
        "expect_few_duplicates",
        share <= MAX_DUPLICATES,
        f"at most {MAX_DUPLICATES:.0%} of the rows; {_RULES[rule]}",
        f"{rejected:,} rows ({share:.2%})",
        severity="warning",
        failing_rows=rejected,
        measure=Measure(share, high=MAX_DUPLICATES, unit="share"),
    )
