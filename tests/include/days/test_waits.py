"""A log that has not come is told once, and once more when it has come, whatever is run again in between."""

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta

import pytest

from include.days import waits
from include.days.day_status import known_days, log_days
from include.lake.lake import get_lake
from include.lake.manifest import Manifest
from include.raw.deliveries import Raw
from include.raw.file_check import raw_digest
from include.records import RawChange, Wait
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
        if isinstance(news, waits.Change):
            self.told.append((news.day, news.files))
        else:
            self.told.append((news.day, news.kind, news.run_goes_on))


@pytest.fixture
def night(tmp_path, monkeypatch):
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    return Night(monkeypatch)


def deliver(day=DAY, *, names=("part-0.csv", "_SUCCESS")):
    folder = Raw().full(f"date={day}")
    Raw().fs.makedirs(folder, exist_ok=True)
    for name in names:
        Raw().fs.pipe(f"{folder}/{name}", b"user_id\n")


def ingest(day):
    """Publish the logs of a day from its raw files as they are now."""
    now = datetime.now(UTC).isoformat()
    manifest = Manifest("logs", str(day), "b", {}, 20, {f"raw/{day}": raw_digest(day)}, "c", "s", created_at=now)
    get_lake().write_json(f"_manifests/logs/dt={day}.json", asdict(manifest))


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


def test_files_that_arrive_are_no_log_until_the_marker(night, caplog):
    caplog.set_level("INFO", "include.days.waits")
    assert not night.look(0, first=True)
    for number in range(2):
        deliver(names=[f"part-{number}.csv"])
        assert not night.look(1 + number / 60)
    found = get_lake().record(Wait, DAY).waits_for
    assert found.startswith("2 files, 16 bytes; waits for _SUCCESS or 5 minutes without a change")
    assert [line.split("; ")[0] for line in caplog.messages[1:]] == [
        f"{DAY}: 1 file, 8 bytes",
        f"{DAY}: 2 files, 16 bytes",
    ]
    assert get_lake().record(Wait, DAY).came_at is None
    deliver(names=["_SUCCESS"])
    assert night.look(1.1)
    assert get_lake().record(Wait, DAY).came_at is not None


def test_a_log_that_stays_incomplete_is_overdue_and_given_up(night):
    deliver(names=["part-0.csv"])
    assert not night.look(0, first=True)
    assert not night.look(2.1)
    night.give_up(6)
    assert night.told == [(DAY, "overdue", False)]
    assert "waits for _SUCCESS" in get_lake().record(Wait, DAY).waits_for


def test_the_log_is_due_after_the_day_of_its_own_zone(night, tmp_path, monkeypatch):
    columns = "{user_id: u, item_id: i, log_time: t, label: l, scene: s}"
    (tmp_path / "log.yaml").write_text(f"columns: {columns}\ntime: {{zone: Asia/Shanghai}}\n")
    monkeypatch.setenv("CTR_RAW_MAPPING", str(tmp_path / "log.yaml"))
    night.look(-9, first=True)
    assert get_lake().record(Wait, DAY).due == MIDNIGHT - timedelta(hours=6)
    night.look(-6.1)
    assert night.told == []
    night.look(-6)
    assert night.told == [(DAY, "overdue", False)]


def test_a_file_after_ingest_is_told_once_by_the_next_run(night):
    deliver()
    ingest(DAY)
    tomorrow = DAY + timedelta(days=1)
    deliver(tomorrow)
    night.look(24, tomorrow, first=True)
    assert night.told == []
    deliver(names=["part-1.csv"])
    for hour in (25, 49):
        night.look(hour, tomorrow, first=True)
    assert night.told == [(DAY, (f"date={DAY}/part-1.csv",))]
    deliver(names=["part-2.csv"])
    night.look(50, tomorrow, first=True)
    assert len(night.told) == 2
    assert get_lake().record(RawChange, DAY).digest == raw_digest(DAY)
    ingest(DAY)
    night.look(51, tomorrow, first=True)
    assert len(night.told) == 2


def test_raw_files_that_were_cleared_away_are_not_told(night):
    deliver()
    ingest(DAY)
    Raw().fs.rm(Raw().full(f"date={DAY}"), recursive=True)
    night.look(24, DAY + timedelta(days=1), first=True)
    assert night.told == []


def test_a_run_does_not_tell_of_its_own_or_later_days(night):
    for day in (DAY, DAY + timedelta(days=1)):
        deliver(day)
        ingest(day)
        deliver(day, names=["part-1.csv"])
    assert night.look(48, first=True)
    assert night.told == []
