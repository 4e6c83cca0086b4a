"""The one time rule."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include import calendar
from include.errors import InvalidInputError

DAY = date(2023, 7, 17)


def test_the_log_day_is_the_utc_date_of_the_interval_start():
    assert calendar.log_day(datetime(2023, 7, 17, tzinfo=UTC)) == DAY
    assert calendar.log_day(datetime(2023, 7, 17, 2, tzinfo=timezone(timedelta(hours=8)))) == date(2023, 7, 16)


def test_an_explicit_day_wins():
    assert calendar.log_day(datetime(2023, 1, 1, tzinfo=UTC), "2023-07-17") == DAY


def test_without_interval_or_parameter_there_is_no_day():
    with pytest.raises(InvalidInputError, match='"day": "YYYY-MM-DD"'):
        calendar.log_day(None)


@pytest.mark.parametrize("text", ["2023-7", "17.07.2023", "", "2023-02-30"])
def test_a_text_that_is_no_day_is_refused(text):
    with pytest.raises(InvalidInputError, match="YYYY-MM-DD"):
        calendar.parse_day(text)


@given(st.dates(min_value=date(2000, 1, 1)))
def test_a_window_is_seven_calendar_days_that_end_with_the_day(day):
    days = calendar.window(day)
    assert len(days) == 7
    assert days[-1] == day
    assert days[0] == day - timedelta(days=6)


def test_a_range_that_ends_before_it_starts_is_refused():
    with pytest.raises(InvalidInputError, match="ends before it starts"):
        calendar.days_between(DAY, calendar.previous(DAY))


def test_day_bounds_are_half_open_and_utc():
    start, end = calendar.day_bounds(DAY)
    assert (start, end) == (datetime(2023, 7, 17, tzinfo=UTC), datetime(2023, 7, 18, tzinfo=UTC))
