"""The form of raw files, checked without Spark."""

import bz2
import csv
import gzip
import io
import os
import time
from datetime import date, datetime
from pathlib import Path

import fsspec
import pytest
from budget import examples
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from include.errors import InvalidInputError, MissingDataError
from include.raw.deliveries import Raw
from include.raw.file_check import RawFile, check_raw_day, header_problem, raw_digest, recount
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
    with pytest.raises(MissingDataError, match=rf"No raw log of {DAY}.*date={DAY}, found none.*ctr sample"):
        check_raw_day(DAY)


def test_whatever_would_not_be_read_is_named(folder):
    """A day is never published without files that somebody has delivered for it."""
    (folder / "hour=05").mkdir()
    for name in ("a.csv", "b.csv.GZ", "c.parquet", "10:00.csv", "_SUCCESS", ".a.csv.crc"):
        (folder / name).write_text(HEADER + "\n")
    refused(
        r"date=2023-07-10 holds 4 names that would not be read: 10:00\.csv, b\.csv\.GZ, c\.parquet, hour=05\. Expected"
    )
    assert Raw().has_log(DAY)


def test_a_day_waits_for_a_file_that_is_being_written(folder):
    (folder / "a.csv").write_text(HEADER + "\n")
    (folder / "b.csv._COPYING_").write_text(HEADER)
    assert not Raw().has_log(DAY)
    (folder / "b.csv._COPYING_").rename(folder / "b.csv")
    assert Raw().has_log(DAY)
    assert [file.name for file in check_raw_day(DAY)] == [f"date={DAY}/{name}" for name in ("a.csv", "b.csv")]


def test_names_in_capitals_and_bzip2_are_read(folder):
    (folder / "a.CSV").write_text(HEADER + "\n" + "," * 36 + "\n")
    (folder / "b.csv.bz2").write_bytes(bz2.compress((HEADER + "\n" + ("," * 36 + "\n") * 2).encode()))
    assert [file.records for file in check_raw_day(DAY)] == [1, 2]


def test_an_empty_file_is_refused(folder):
    (folder / "a.csv").write_bytes(b"")
    refused(r"Raw file a\.csv of 2023-07-10 .* is empty")


def test_blank_lines_alone_are_no_header(folder):
    (folder / "a.csv").write_bytes(b"\n\r\n")
    refused("has no header")


def test_a_missing_column_is_named(folder):
    (folder / "a.csv").write_text(HEADER.replace("label,", "") + "\n")
    refused("expected column 'label', which is missing")


def test_a_renamed_column_gets_a_suggestion(folder):
    (folder / "a.csv").write_text(HEADER.replace("log_time", "log_tme") + "\n")
    refused(r"'log_time', which is missing; found the unknown column 'log_tme' \(did you mean 'log_time'\?\)")


def test_a_renamed_optional_column_is_refused_too():
    columns = tuple("query_entities" if name == "query_entity_seq" else name for name in RAW_COLUMNS)
    assert "did you mean 'query_entity_seq'?" in (header_problem(columns) or "")


def test_a_column_twice_is_refused():
    assert "'label' more than once" in (header_problem((*RAW_COLUMNS, "label")) or "")


def test_optional_columns_may_be_absent():
    assert header_problem(RAW_COLUMNS[:5] + RAW_COLUMNS[7:10] + ("query_entity_seq",)) is None


def test_a_file_that_is_no_gzip_is_refused(folder):
    (folder / "a.csv.gz").write_bytes(b"plain text")
    refused("expected a complete gzip file")


def test_a_truncated_gzip_is_refused(folder):
    (folder / "a.csv.gz").write_bytes(gzip.compress((HEADER + "\n" + "x\n" * 9999).encode())[:-9])
    refused("cannot be read to its end")


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


fields = st.lists(st.text(st.sampled_from('ab,"\r\n 龙'), max_size=5), min_size=1, max_size=4)


@given(st.lists(fields, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(), st.booleans())
@examples(60)
def test_records_are_counted_as_a_csv_parser_does(rows, end, bom, last_end, zipped):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=end, quoting=csv.QUOTE_MINIMAL).writerows([*map(list, [RAW_COLUMNS]), *rows])
    text = ("\ufeff" if bom else "") + (out.getvalue() if last_end else out.getvalue().removesuffix(end))
    name = f"date={DAY}/part.csv{'.gz' if zipped else ''}"
    path = Path(get_settings().raw_url.removeprefix("file://")) / name
    for old in path.parent.iterdir():
        old.unlink()
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    (file,) = check_raw_day(DAY)
    assert file == RawFile(name, RAW_COLUMNS, recount(file))
