"""Which files a day has before a row is read, and the digest by which a change of them is seen."""

import os
import time
from datetime import date, datetime

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from include.errors import InvalidInputError, MissingDataError
from include.raw.deliveries import Raw
from include.raw.file_check import check_raw_day, raw_digest
from include.schemas import RAW_COLUMNS
from include.settings import get_settings

DAY = date(2023, 7, 10)
HEADER = ",".join(RAW_COLUMNS)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    path = tmp_path / "raw" / f"date={DAY}"
    path.mkdir(parents=True)
    yield path
    get_settings.cache_clear()


def refused(match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        check_raw_day(DAY)


def test_no_file_names_the_folder_and_the_next_step():
    with pytest.raises(MissingDataError, match=rf"No raw log of {DAY}.*found none in .*date={DAY}.*ctr sample"):
        check_raw_day(DAY)


def test_whatever_would_not_be_read_is_named(folder):
    """A day is never published without files that somebody has delivered for it."""
    (folder / "hour=05").mkdir()
    for name in (
        "a.csv",
        "b.csv.GZ",
        "c.parquet",
        "10:00.csv",
        "_SUCCESS",
        ".a.csv.crc",
        "hour=05/d.CSV",
        "hour=05/e.txt",
    ):
        (folder / name).write_text(HEADER + "\n")
    refused(
        r"date=2023-07-10 holds 2 names that would not be read: date=2023-07-10/c\.parquet, date=2023-07-10/hour=05/e\.txt\. "
        r"Expected date=\{yyyy-MM-dd\}/\*\*/\*\.csv\{,\.gz"
    )
    assert Raw().has_log(DAY)
    for name in ("c.parquet", "hour=05/e.txt"):
        (folder / name).unlink()
    read = ["10:00.csv", "a.csv", "b.csv.GZ", "hour=05/d.CSV"]
    assert check_raw_day(DAY) == [f"date={DAY}/{name}" for name in read]


def test_a_day_waits_for_a_file_that_is_being_written(folder):
    (folder / "a.csv").write_text(HEADER + "\n")
    (folder / "b.csv._COPYING_").write_text(HEADER)
    assert not Raw().has_log(DAY)
    (folder / "b.csv._COPYING_").rename(folder / "b.csv")
    assert Raw().has_log(DAY)
    assert check_raw_day(DAY) == [f"date={DAY}/{name}" for name in ("a.csv", "b.csv")]


def test_the_digest_moves_with_the_content(folder):
    (folder / "a.csv").write_text(HEADER + "\n")
    before = raw_digest(DAY)
    assert before == raw_digest(DAY)
    (folder / "a.csv").write_text(HEADER + "\n1\n")
    assert raw_digest(DAY) != before


class NaiveTimes(MemoryFileSystem):
    """A file system that tells times of change in the process's own zone without saying so, as HDFS clients do."""

    protocol = "naive"
    cachable = False
    changed_ms = 0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("naive://"))

    def modified(self, path):
        return datetime.fromtimestamp(self.changed_ms / 1000)


@pytest.fixture
def remote(monkeypatch):
    fsspec.register_implementation("naive", NaiveTimes, clobber=True)
    monkeypatch.setenv("CTR_RAW", "naive:///raw")
    get_settings.cache_clear()
    fs = fsspec.filesystem("naive")
    fs.pipe_file(f"/raw/date={DAY}/a.csv", b"rows")
    yield monkeypatch
    fs.rm("/raw", recursive=True)
    monkeypatch.undo()
    time.tzset()


def test_digest_changes_with_a_remote_file_of_the_same_size(remote):
    seen = set()
    for moment in (1_689_000_000_123, 1_689_000_000_124, 1_689_000_001_123):
        remote.setattr(NaiveTimes, "changed_ms", moment)
        seen.add(raw_digest(DAY))
    assert len(seen) == 3


def test_the_digest_is_the_same_in_every_time_zone(remote):
    # The last two are the same hour of the clock in Berlin, before and after summer time has ended.
    for moment in (1_689_000_000_123, 1_698_539_400_000, 1_698_543_000_000):
        remote.setattr(NaiveTimes, "changed_ms", moment)
        seen = set()
        for zone in ("UTC", "Asia/Shanghai", "Europe/Berlin"):
            remote.setenv("TZ", zone)
            time.tzset()
            seen.add(raw_digest(DAY))
        assert len(seen) == 1


def test_the_digest_of_a_local_day_is_what_it_has_always_been(folder):
    (folder / "a.csv").write_text("rows")
    os.utime(folder / "a.csv", (1_689_000_000.5, 1_689_000_000.5))
    assert raw_digest(DAY) == "80e6c6b2b120"
