"""Spark's tables equal those of DuckDB, both as made from day to day and as made from all logs at once."""

from datetime import date
from pathlib import Path

import pytest
from duckdb_reference import COMPARED, duckdb_table, same
from small_days import build_only, read

from benchmarks.features.duckdb_pipeline import Pipeline
from benchmarks.raw_days import RawDays, days_from
from include.lake.lake import Lake, get_lake
from include.settings import get_settings
from include.stages import TABLES

pytestmark = pytest.mark.spark

DAYS = days_from(date(2023, 7, 10), 9)
COMPARED_DAYS = (DAYS[0], DAYS[1], DAYS[-1])
ROWS = 5_000


@pytest.fixture(scope="module")
def home(spark, module_store: Lake) -> Path:
    """Nine days made by both, so that the first has left every window: Spark's lake in `lake`, DuckDB's in `duckdb`."""
    folder = get_settings().home
    RawDays(ROWS, rows_per_file=2_000).write(folder / "raw", DAYS)
    pipeline = Pipeline(folder / "duckdb", folder / "raw")
    for day in DAYS:
        pipeline.ingest(day)
        pipeline.features(day)
        pipeline.training(day)
        for stage in ("logs", "features", "training") if day in COMPARED_DAYS else ("logs", "features"):
            build_only(spark, module_store, stage, day)
    pipeline.recompute(DAYS[-1])
    return folder


@pytest.mark.parametrize("day", COMPARED_DAYS, ids=["first", "second", "ninth"])
def test_logs_and_quarantine_are_those_of_duckdb(home, day):
    same(read(get_lake(), "logs", day), duckdb_table(home / "duckdb", "logs", day), "logs")
    # How the raw row is written down is each engine's own.
    own = ["raw", "fingerprint"]
    found, expected = read(get_lake(), "quarantine", day), duckdb_table(home / "duckdb", "quarantine", day)
    same(found.drop(columns=own), expected.drop(columns=own), "quarantine")


@pytest.mark.parametrize("day", COMPARED_DAYS, ids=["first", "second", "ninth"])
@pytest.mark.parametrize("table", COMPARED)
def test_tables_are_those_of_duckdb(home, table, day):
    same(read(get_lake(), table, day), duckdb_table(home / "duckdb", table, day), table)


@pytest.mark.parametrize("table", COMPARED)
def test_the_last_day_is_that_of_all_logs_at_once(home, table):
    same(read(get_lake(), table, DAYS[-1]), duckdb_table(home / "duckdb/recomputed", table, DAYS[-1]), table)


def test_every_table_is_compared():
    assert {*COMPARED, "logs", "quarantine"} == {table for table in TABLES if table != "late"}


def test_every_flaw_is_among_the_rows(home):
    reasons = {reason for day in DAYS for row in read(get_lake(), "quarantine", day)["reasons"] for reason in row}
    assert len(reasons) >= 9, reasons
