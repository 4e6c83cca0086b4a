"""Spark's tables equal those of DuckDB, both as made from day to day and as made from all logs at once."""

from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from small_days import build_only

from benchmarks.features.duckdb_pipeline import Pipeline
from benchmarks.raw_days import RawDays, days_from
from include.lake.lake import Lake, get_lake
from include.settings import get_settings
from include.stages import SPECS, TABLES
from include.text_key import text_key

pytestmark = pytest.mark.spark

DAYS = days_from(date(2023, 7, 10), 9)
COMPARED = (DAYS[0], DAYS[1], DAYS[-1])
ROWS = 5_000
KEYS = {
    "logs": ["event_id"],
    "quarantine": ["source_file", "source_row"],
    "training": ["event_id"],
    "features_scene": ["scene"],
    "items": ["item_id"],
    "texts": ["text", "kind"],
}


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
        for stage in ("logs", "features", "training") if day in COMPARED else ("logs", "features"):
            build_only(spark, module_store, stage, day)
    pipeline.recompute(DAYS[-1])
    return folder


def spark_table(table: str, day: date) -> pd.DataFrame:
    files = ds.dataset(get_lake().table_path(table, day, "a test"), format="orc", partitioning="hive")
    frame = files.to_table().to_pandas()
    return frame.assign(scene=frame["scene"].astype(str)) if "scene" in frame else frame


def duckdb_table(folder: Path, table: str, day: date) -> pd.DataFrame:
    """A table with DuckDB's text keys replaced by Spark's."""
    files = f"{folder}/{table}/dt={day}/**/*.parquet"
    types = ", hive_types = {'scene': VARCHAR}" if table == "logs" else ""
    query = f"SELECT * EXCLUDE (dt) FROM read_parquet('{files}', hive_partitioning = true{types})"
    frame = duckdb.sql(query).df()
    for name in [name for name in frame if name.endswith("_key")]:
        frame[name] = frame[name].map(translated, na_action="ignore").astype("Int64")
    for name in [name for name in frame if name.endswith("_keys")]:
        frame[name] = [[translated(key) for key in keys] for keys in frame[name]]
    return frame


_TEXTS: dict[int, int] = {}


def translated(key: int) -> int:
    return _TEXTS[int(key)]


@pytest.fixture(scope="module", autouse=True)
def texts(home: Path) -> None:
    for key, text in duckdb.sql(f"SELECT text_key, text FROM '{home}/duckdb/texts/**/*.parquet'").fetchall():
        _TEXTS[key] = text_key(text)


def comparable(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """Rows in the order of their keys; lists, dates and nulls in one form."""
    counts = ("impressions", "clicks", "ctr", "prior", "first", "last", "user_strength", "item_strength")
    keys = KEYS.get(table) or [name for name in frame if not name.startswith(counts)]
    frame = frame.sort_values(keys, ignore_index=True)
    for name in frame:
        if name == "log_ts" or name in ("first_seen", "last_seen", "last_clicked"):
            frame[name] = pd.to_datetime(frame[name]).astype("datetime64[us]")
        elif name.endswith("_key"):
            frame[name] = frame[name].astype("Int64")
        elif frame[name].dtype == object:
            frame[name] = [
                "\t".join(map(str, value)) if isinstance(value, (list, np.ndarray)) else value for value in frame[name]
            ]
            frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    return frame


def same(found: pd.DataFrame, expected: pd.DataFrame, table: str) -> None:
    """Equal rows; counts exactly, rates to 1e-9."""
    assert set(found) == set(expected), table
    assert len(expected), table
    found, expected = comparable(found, table), comparable(expected, table)
    pd.testing.assert_frame_equal(found[list(expected)], expected, check_dtype=False, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("day", COMPARED, ids=["first", "second", "ninth"])
def test_logs_and_quarantine_are_those_of_duckdb(home, day):
    same(spark_table("logs", day), duckdb_table(home / "duckdb", "logs", day), "logs")
    # How the raw row is written down is each engine's own.
    own = ["raw", "fingerprint"]
    found, expected = spark_table("quarantine", day), duckdb_table(home / "duckdb", "quarantine", day)
    same(found.drop(columns=own), expected.drop(columns=own), "quarantine")


@pytest.mark.parametrize("day", COMPARED, ids=["first", "second", "ninth"])
@pytest.mark.parametrize("table", [*SPECS["features"].tables, "training"])
def test_tables_are_those_of_duckdb(home, table, day):
    same(spark_table(table, day), duckdb_table(home / "duckdb", table, day), table)


@pytest.mark.parametrize("table", [*SPECS["features"].tables, "training"])
def test_the_last_day_is_that_of_all_logs_at_once(home, table):
    same(spark_table(table, DAYS[-1]), duckdb_table(home / "duckdb/recomputed", table, DAYS[-1]), table)


def test_every_table_is_compared():
    assert {*SPECS["features"].tables, "training", "logs", "quarantine"} == {
        table for table in TABLES if table != "late"
    }


def test_every_flaw_is_among_the_rows(home):
    reasons = {reason for day in DAYS for row in spark_table("quarantine", day)["reasons"] for reason in row}
    assert len(reasons) >= 9, reasons
