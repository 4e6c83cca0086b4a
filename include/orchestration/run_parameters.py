"""Check of the parameters of a DAG run, before any task of it runs."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from include.calendar import parse_day
from include.errors import InvalidInputError


def refuse_wrong_parameters(known: Collection[str], conf: Mapping[str, Any], run_type: str) -> None:
    """Check what Airflow does not: names of parameters, and whether `day` fits the run.

    Args:
        known: the parameters that the DAG has.
        conf: the parameters with which the run was started.
        run_type: `manual`, `scheduled`, `backfill`, …

    Raises:
        InvalidInputError: for a parameter that the DAG does not have (Airflow would ignore a misspelt one), for `day` in a
            backfill, and for a `day` that has not ended.
    """
    if unknown := sorted({*conf} - {*known}):
        raise InvalidInputError(
            f"There is no parameter {', '.join(map(repr, unknown))}: expected {', '.join(known)}. "
            "Trigger it again with the right name."
        )
    if (day := conf.get("day")) is None:
        return
    if run_type == "backfill":
        raise InvalidInputError(
            f"A backfill takes its days from its range, so 'day' ({day}) is refused: it would be redone once for each of them. "
            "Start it again and leave 'day' empty."
        )
    if parse_day(day) >= (today := datetime.now(UTC).date()):
        raise InvalidInputError(
            f"The day {day} has not ended (it is {today} UTC), so that its log cannot be complete: expected an earlier 'day'. "
            "Trigger it again when the day is over."
        )
