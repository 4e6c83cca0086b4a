"""The form of raw files, checked without Spark."""

import csv
import gzip
import io
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from include.errors import InvalidInputError, MissingDataError
from include.raw_check import RawFile, check_raw_day, header_problem, raw_digest, recount
from include.schemas import RAW_COLUMNS
from include.settings import settings

DAY = date(2023, 7, 10)
HEADER = ",".join(RAW_COLUMNS)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    settings.cache_clear()
    path = tmp_path / "raw" / f"date={DAY}"
    path.mkdir(parents=True)
    yield path
    settings.cache_clear()


def refused(match: str) -> None:
    with pytest.raises(InvalidInputError, match=match):
        check_raw_day(DAY)


def test_no_file_names_the_folder_and_the_next_step():
    with pytest.raises(MissingDataError, match=rf"No raw log of {DAY}.*date={DAY}, found none.*ctr sample"):
        check_raw_day(DAY)


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


fields = st.lists(st.text(st.sampled_from('ab,"\r\n 龙'), max_size=5), min_size=1, max_size=4)


@given(st.lists(fields, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(), st.booleans())
@hypothesis_settings(max_examples=60, deadline=None)
def test_records_are_counted_as_a_csv_parser_does(rows, end, bom, last_end, zipped):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator=end, quoting=csv.QUOTE_MINIMAL).writerows([*map(list, [RAW_COLUMNS]), *rows])
    text = ("\ufeff" if bom else "") + (out.getvalue() if last_end else out.getvalue().removesuffix(end))
    name = f"date={DAY}/part.csv{'.gz' if zipped else ''}"
    path = Path(settings().raw_url.removeprefix("file://")) / name
    for old in path.parent.iterdir():
        old.unlink()
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    (file,) = check_raw_day(DAY)
    assert file == RawFile(name, RAW_COLUMNS, recount(file))
