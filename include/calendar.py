"""The one time rule: a run works on log day *d*, the UTC date of its data interval's start.

See docs/architecture.md, "Time", for what a run of day *d* may read.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from include.errors import InvalidInputError

ONE_DAY = timedelta(days=1)
WINDOW_DAYS = 7


def parse_day(text: str) -> date:
    """Return the day written as `YYYY-MM-DD`; raises `InvalidInputError` for anything else."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise InvalidInputError(f"'{text}' is not a day: expected YYYY-MM-DD, for example 2023-07-17.") from None


def previous(day: date) -> date:
    """Return the day before."""
    return day - ONE_DAY


def days_between(first: date, last: date) -> Iterator[date]:
    """Return every day from `first` to `last`, both included, ascending; raises `InvalidInputError` if `last` < `first`."""
    if last < first:
        raise InvalidInputError(f"The range {first}..{last} ends before it starts: give the earlier day first.")
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def window(day: date, length: int = WINDOW_DAYS) -> list[date]:
    """Return the `length` calendar days that end with `day`, ascending, whether or not they have data."""
    return list(days_between(day - timedelta(days=length - 1), day))


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Return the start of a UTC day and of the next one: [start, end)."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + ONE_DAY


def log_day_if_known(interval_start: datetime | None, explicit: str | None = None) -> date | None:
    """Return the same as `log_day`, but None where the run has no log day."""
    try:
        return log_day(interval_start, explicit)
    except InvalidInputError:
        return None


def log_day(interval_start: datetime | None, explicit: str | None = None) -> date:
    """Return the log day of a run: `explicit` (a run parameter) if given, else the UTC date on which the data interval starts.

    Raises `InvalidInputError` when there is neither: "today" is never assumed.
    """
    if explicit:
        return parse_day(explicit)
    if interval_start is None:
        raise InvalidInputError(
            "This run has no data interval and no 'day' parameter, so its log day is unknown. "
            'Trigger it with a parameter: {"day": "YYYY-MM-DD"}.'
        )
    return interval_start.astimezone(UTC).date()
