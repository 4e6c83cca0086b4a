"""Times as logged become wall-clock times in the zone of the log's days."""

from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pytest

from include.mapping.mapping import Times
from include.raw.reading.times import parse_times, time_text

SECONDS = "%Y-%m-%d %H:%M:%S"


def texts(values: list[object], kind: pa.DataType | None = None, **times: object) -> list[str | None]:
    moments = parse_times(pa.array(values, kind or pa.string()), Times.model_validate(times)).moments
    return [None if np.isnat(moment) else time_text(moment) for moment in moments]


def test_formats_are_tried_in_order_and_zones_win():
    formats = [SECONDS, "%Y-%m-%dT%H:%M:%S%z", "epoch_milliseconds"]
    values = ["2023-07-10 08:00:00", "2023-07-10T08:00:00+02:00", "1688947200000", "2023-02-30 08:00:00", None]
    found = ["2023-07-10 08:00:00", "2023-07-10 14:00:00", "2023-07-10 08:00:00", None, None]
    assert texts(values, formats=formats, zone="Asia/Shanghai") == found


def test_a_zone_that_a_time_carries_wins():
    names = ["UTC", "Z", "+0900", "Asia/Tokyo", "+08:00", "+08"]
    values = [f"2023-07-10 08:00:00 {name}" for name in names]
    found = ["2023-07-10 16:00:00", "2023-07-10 16:00:00", *["2023-07-10 07:00:00"] * 2, *["2023-07-10 08:00:00"] * 2]
    assert texts(values, formats=[f"{SECONDS} %Z"], zone="Asia/Shanghai") == found


def test_a_zone_name_of_several_zones_is_not_guessed():
    values = ["2023-07-10 08:00:00 CST", "2023-07-10 08:00:00 Asia/Nowhere", "2023-07-10 08:00:00"]
    assert texts(values, formats=[f"{SECONDS} %Z"]) == [None, None, None]


def test_iso_8601_with_and_without_zones_and_fractions():
    values = ["2023-07-10T08:00:00.123Z", "2023-07-10 08:00", "2023-07-10T08:00:00+08:00", "2023-07-10", "x", ""]
    found = [
        "2023-07-10 08:00:00.123000",
        "2023-07-10 08:00:00",
        "2023-07-10 00:00:00",
        "2023-07-10 00:00:00",
        None,
        None,
    ]
    assert texts(values) == found


@pytest.mark.parametrize(
    ("name", "factor"), [("seconds", 1), ("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)]
)
def test_epochs_are_cut_into_days_of_the_log_zone(name: str, factor: int):
    """20:00 UTC is the next day in Shanghai."""
    values = [str(1_688_932_800 * factor), str(1_688_932_800 * factor + factor // 2)]
    found = ["2023-07-10 04:00:00", "2023-07-10 04:00:00.500000" if factor > 1 else "2023-07-10 04:00:00"]
    assert texts(values, formats=[f"epoch_{name}"], zone="Asia/Shanghai") == found
    assert texts(values[:1], formats=[f"epoch_{name}"], zone="Asia/Shanghai", day_zone="UTC") == ["2023-07-09 20:00:00"]


def test_epochs_as_numbers_fractions_and_exponents():
    assert texts(["1688947200.5", "1.6889472e9", "abc", "9" * 30, "-5"], formats=["epoch_seconds"]) == [
        "2023-07-10 00:00:00.500000",
        "2023-07-10 00:00:00",
        None,
        None,
        "1969-12-31 23:59:55",
    ]
    assert texts([1_688_947_200_000], pa.int64(), formats=["epoch_milliseconds"]) == ["2023-07-10 00:00:00"]


def test_local_times_at_a_change_of_the_clocks_are_counted():
    values = pa.array(["2023-10-29 02:30:00", "2023-03-26 02:30:00", "2023-10-29 05:30:00"])
    own = parse_times(values, Times(formats=[SECONDS], zone="Europe/Berlin"))
    assert [time_text(moment) for moment in own.moments] == values.to_pylist()
    assert (own.repeated, own.skipped) == (1, 1)
    utc = parse_times(values, Times(formats=[SECONDS], zone="Europe/Berlin", day_zone="UTC"))
    assert [time_text(moment) for moment in utc.moments] == [
        "2023-10-29 00:30:00",  # the first of the two
        "2023-03-26 01:00:00",  # the end of the gap
        "2023-10-29 04:30:00",
    ]
    assert (utc.repeated, utc.skipped) == (1, 1)


def test_times_of_parquet_need_no_format():
    moment = datetime(2023, 7, 10, 20, 30)
    assert texts([moment], pa.timestamp("ms"), zone="Asia/Shanghai") == ["2023-07-10 20:30:00"]
    assert texts([moment], pa.timestamp("ns", "UTC"), zone="Asia/Shanghai") == ["2023-07-11 04:30:00"]
    assert texts([date(2023, 7, 10), None], pa.date32()) == ["2023-07-10 00:00:00", None]


@pytest.mark.parametrize("year", ["0001", "9999", "1600"])
def test_a_year_that_cannot_be_counted_is_no_time(year: str):
    assert texts([f"{year}-06-01 00:00:00"], formats=[SECONDS], zone="Asia/Shanghai") == [None]


def test_single_digits_and_other_orders():
    assert texts(["2023/7/9 1:02", "17.07.2023 00:05"], formats=["%Y/%m/%d %H:%M", "%d.%m.%Y %H:%M"]) == [
        "2023-07-09 01:02:00",
        "2023-07-17 00:05:00",
    ]
