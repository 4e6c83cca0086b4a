"""The reference for Spark's tables: DuckDB's tables of the same logs, and the comparison of the two."""

import shutil
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
from small_days import build_only, log_table, read

from benchmarks.features.duckdb_pipeline import Pipeline
from include.lake.lake import Lake
from include.settings import get_settings
from include.stages import SPECS
from include.text_key import text_key

Logs = dict[date, pd.DataFrame]
COMPARED = (*SPECS["features"].tables, "training")
"""The tables that DuckDB makes of logs."""
_KEYS = {
    "logs": ["event_id"],
    "quarantine": ["source_file", "source_row"],
    "training": ["event_id"],
    "features_scene": ["scene"],
    "items": ["item_id"],
    "texts": ["text", "kind"],
}


def equal_a_full_recompute(spark, lake: Lake, logs: Logs, day: date) -> None:
    """Compare all feature tables of `day`, and its training rows as built now or before, with those of all logs at once."""
    root = get_settings().home / "duckdb"
    shutil.rmtree(root, ignore_errors=True)
    scenes = ds.partitioning(pa.schema([("scene", pa.string())]), flavor="hive")
    for past, events in logs.items():
        ds.write_dataset(log_table(past, events), root / "logs" / f"dt={past}", format="parquet", partitioning=scenes)
    Pipeline(root, raw=root / "none").recompute(day)
    if not lake.manifest("training", day):
        build_only(spark, lake, "training", day)
    for table in COMPARED:
        same(read(lake, table, day), duckdb_table(root / "recomputed", table, day), table)


def duckdb_table(folder: Path, table: str, day: date) -> pd.DataFrame:
    """Return a table of DuckDB's with its text keys replaced by Spark's, which are known from the day's `texts`."""
    types = ", hive_types = {'scene': VARCHAR}" if table == "logs" else ""
    files = f"read_parquet('{folder}/{table}/dt={day}/**/*.parquet', hive_partitioning = true{types})"
    frame = duckdb.sql(f"SELECT * EXCLUDE (dt) FROM {files}").df()
    keys = [name for name in frame if name.endswith(("_key", "_keys"))]
    if keys:
        texts = duckdb.sql(f"SELECT text_key, text FROM '{folder}/texts/dt={day}/*.parquet'").fetchall()
        spark_keys = {key: text_key(text) for key, text in texts}
        for name in keys:
            frame[name] = (
                [[spark_keys[key] for key in row] for row in frame[name]]
                if name.endswith("_keys")
                else frame[name].map(lambda key: spark_keys[int(key)], na_action="ignore").astype("Int64")
            )
    return frame


def same(found: pd.DataFrame, expected: pd.DataFrame, table: str) -> None:
    """Compare rows: counts, days and texts exactly, rates to 1e-12."""
    assert set(found) == set(expected), table
    assert len(expected), table
    found, expected = _comparable(found, table), _comparable(expected, table)
    pd.testing.assert_frame_equal(
        found[list(expected)], expected, check_dtype=False, rtol=1e-12, atol=1e-13, obj=f"{table}"
    )


def _comparable(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """Return rows in the order of their keys; lists, dates and nulls in one form."""
    counts = ("impressions", "clicks", "ctr", "prior", "first", "last", "user_strength", "item_strength")
    keys = _KEYS.get(table) or [name for name in frame if not name.startswith(counts)]
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
