"""A log that has not come is told once, and once more when it has come, whatever is run again in between."""

from datetime import UTC, date, datetime, timedelta

import pytest

from include.days import waits
from include.days.day_status import known_days, log_days
from include.lake.lake import get_lake
from include.raw.deliveries import Raw
from include.records import Wait
from include.settings import get_settings

DAY = date(2023, 7, 17)
MIDNIGHT = datetime(2023, 7, 18, tzinfo=UTC)


class Night:
    """Looks of a sensor at hours after the day's end, and what they told."""

    def __init__(self, monkeypatch):
        self.hour, self.told, self.first = 0.0, [], True
        self.monkeypatch = monkeypatch

    def at(self, hour):
        moment = MIDNIGHT + timedelta(hours=hour)
        clock = type("Clock", (datetime,), {"now": classmethod(lambda _, zone: moment)})
        self.monkeypatch.setattr(waits, "datetime", clock)

    def look(self, hour, day=DAY, *, first=False):
        self.at(hour)
        return waits.look(get_lake(), day, self._tell, first=first)

    def give_up(self, hour, day=DAY):
        self.at(hour)
        waits.give_up(get_lake(), day, self._tell)

    def _tell(self, news):
        self.told.append((news.day, news.kind, news.run_goes_on))


@pytest.fixture
def night(tmp_path, monkeypatch):
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    return Night(monkeypatch)


def deliver(day=DAY):
    folder = Raw().full(f"date={day}")
    Raw().fs.makedirs(folder, exist_ok=True)
    Raw().fs.pipe(f"{folder}/part-0.csv", b"user_id\n")


def test_an_overdue_log_is_told_once_and_its_arrival_once(night):
    looks = [night.look(0, first=True), *(night.look(hour) for hour in (1, 1.9, 2, 2.1, 3))]
    assert looks == [False] * 6
    assert night.told == [(DAY, "overdue", False)]
    deliver()
    assert night.look(4)
    assert night.look(4.1)
    assert night.told[1:] == [(DAY, "came", True)]


def test_a_log_that_comes_in_time_is_not_told(night):
    night.look(0, first=True)
    deliver()
    assert night.look(1)
    assert night.told == []
    assert get_lake().record(Wait, DAY).came_at is not None


def test_a_log_that_is_there_at_once_leaves_no_record(night):
    deliver()
    assert night.look(0, first=True)
    assert get_lake().record(Wait, DAY) is None


def test_a_wait_that_ends_before_the_due_time_is_told_at_its_end(night):
    night.look(0, first=True)
    night.give_up(0.5)
    assert night.told == [(DAY, "missing", False)]


def test_neither_giving_up_nor_another_run_tells_it_twice(night):
    night.look(2, first=True)
    night.give_up(6)
    night.look(30, first=True)
    night.give_up(36)
    assert night.told == [(DAY, "overdue", False)]
    wait = get_lake().record(Wait, DAY)
    assert (wait.since, wait.gave_up_at) == (MIDNIGHT + timedelta(hours=30), MIDNIGHT + timedelta(hours=36))


def test_the_next_run_tells_of_a_log_that_came_later(night):
    night.look(0, first=True)
    night.give_up(6)
    tomorrow = DAY + timedelta(days=1)
    night.look(24, tomorrow, first=True)
    deliver()
    night.look(24.1, tomorrow)
    night.look(24.2, tomorrow)
    assert night.told[1:] == [(DAY, "came", False)]


def test_a_day_declared_empty_is_no_arrival(night, monkeypatch):
    night.look(2, first=True)
    monkeypatch.setenv("CTR_EMPTY_DAYS", str(DAY))
    get_settings.cache_clear()
    assert night.look(3)
    assert [kind for _, kind, _ in night.told] == ["overdue"]


def test_a_notice_that_was_not_handed_over_is_told_again(night):
    night.at(2)
    with pytest.raises(KeyboardInterrupt):
        waits.look(get_lake(), DAY, lambda _: (_ for _ in ()).throw(KeyboardInterrupt), first=True)
    night.look(2.1, first=True)
    assert night.told == [(DAY, "overdue", False)]


def test_the_record_says_until_when_the_run_waits(night):
    night.look(0.5, first=True)
    wait = get_lake().record(Wait, DAY)
    assert (wait.due, wait.until) == (MIDNIGHT + timedelta(hours=2), MIDNIGHT + timedelta(hours=6.5))


def test_a_day_waited_for_is_known_but_no_day_of_the_log(night):
    deliver()
    far = date(2026, 1, 1)
    night.look(24 * 900, far, first=True)
    assert (known_days(get_lake()), log_days(get_lake())) == ([DAY, far], [DAY])
