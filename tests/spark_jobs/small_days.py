"""Small log days for tests: raw files with any flaw, logs published without Spark, stages run and tables read back."""

import csv
import gzip
import io
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import orc
from sample_records import quality

from include.lake.lake import Lake
from include.lake.manifest import Manifest, TableVersion, new_build
from include.records import Quality
from include.schemas import DEEP_FEATURES, RAW_COLUMNS
from include.settings import get_settings, shaping
from include.stages import SPECS, Stage

DAY = date(2023, 7, 10)


def raw_row(n: int = 0, **changes: str) -> dict[str, str]:
    """A raw row that no rule rejects; different for every `n`."""
    row = dict.fromkeys(RAW_COLUMNS, "") | {
        "user_id": f"u{n % 7}",
        "item_id": f"i{n % 5}",
        "log_time": f"{DAY} {n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}",
        "label": str(int(n % 4 == 0)),
        "query_entity_seq": "tea| green tea ||cup",
        "item_entity_names": "cup",
        "item_title": f"A cup, no. {n % 5}",
        "scene": str(n % 5),
    }
    return row | {name: f"0.{k}" for k, name in enumerate(DEEP_FEATURES[:20])} | changes


def csv_text(rows: Sequence[dict[str, str]], columns: Sequence[str] = RAW_COLUMNS, end: str = "\n") -> str:
    """The rows as CSV with a header."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def write_raw(content: str | bytes, name: str = "part-0.csv", day: date = DAY) -> Path:
    """Writes a raw file of a day, gzipped if its name says so."""
    data = content.encode() if isinstance(content, str) else content
    path = get_settings().home / "raw" / f"date={day}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def run_stage(spark: Any, lake: Lake, stage: Stage, day: date = DAY, publish: bool = True) -> Quality:
    """Runs a stage's job for a day in this process; returns its quality record."""
    from spark_jobs.history import builder
    from spark_jobs.stage import stage_day

    return stage_day(spark, lake, stage, day, builder(stage), publish=publish)


def build_only(spark: Any, lake: Lake, stage: Stage, day: date) -> None:
    """Builds and publishes a stage's day without its audit: for tests of what the tables hold."""
    from spark_jobs.history import builder
    from spark_jobs.session import own_session

    build = new_build()
    staging = lake.begin_staging(stage, day, build)
    staged = builder(stage)(own_session(spark, 0), lake, day, staging)
    publish_staged(lake, stage, day, build, staged.inputs, staged.rows_in)


def publish_staged(lake: Lake, stage: Stage, day: date, build: str, inputs: dict[str, str], rows_in: int = 0) -> None:
    """Publishes a build that lies in staging, with a manifest and no checks."""
    from include.lake.table_ddl import table_ddl
    from include.schemas import schema_hash

    staging = lake.staging(stage, day, build)
    tables = {
        name: TableVersion(
            f"{name}/dt={day}/build={build}", lake.orc_rows(f"{staging}/{name}"), 0, schema_hash(table_ddl(name))
        )
        for name in SPECS[stage].tables
    }
    shaped_by = get_settings().values(*shaping(stage))
    manifest = Manifest(stage, str(day), build, tables, rows_in, inputs, "test", shaped_by)
    lake.finish_staging(manifest, quality(stage, day))
    lake.publish(stage, day)


def log_table(day: date, events: pd.DataFrame) -> pa.Table:
    """Rows of `logs` from `user_id, item_id, scene, label` and, where given, `item_title, topic, query, second`."""
    start = datetime(day.year, day.month, day.day)
    second = events["second"] if "second" in events else np.arange(len(events)) % 86_400
    columns = {"event_id": pa.array([f"date={day}/part-0.csv#{n}" for n in range(len(events))], pa.string())}
    columns |= {name: pa.array(events[name], pa.string()) for name in ("user_id", "item_id")}
    columns["log_ts"] = pa.array([start + timedelta(seconds=int(value)) for value in second], pa.timestamp("ns"))
    columns["label"] = pa.array(events["label"], pa.int8())
    columns["scene"] = pa.array(events["scene"], pa.string())
    lists = pa.list_(pa.string())
    for name in ("bill", "service", "query"):
        columns[f"{name}_entities"] = pa.array([[]] * len(events), lists)
    if "query" in events:
        columns["query_entities"] = pa.array([[query] for query in events["query"]], lists)
    topics = events["topic"] if "topic" in events else ["entity"] * len(events)
    columns["item_entities"] = pa.array([[topic, "more"] if topic else [] for topic in topics], lists)
    titles = events["item_title"] if "item_title" in events else "title of " + events["item_id"]
    columns["item_title"] = pa.array(titles, pa.string())
    columns |= {name: pa.array([0.5] * len(events), pa.float64()) for name in DEEP_FEATURES}
    return pa.table(columns)


def publish_logs(lake: Lake, day: date, events: pd.DataFrame) -> None:
    """Publishes the logs of a day, of the columns of `log_table`."""
    build = new_build()
    staging = Path(lake.path(lake.begin_staging("logs", day, build)))
    for table in ("logs", "late", "quarantine"):
        (staging / table).mkdir()
    rows = log_table(day, events)
    for scene in rows["scene"].unique():
        escaped = re.sub(
            r"""["#%'*/:=?\\{}\[\]^]""", lambda match: f"%{ord(match[0]):02X}", str(scene)
        )  # as Spark does
        folder = staging / "logs" / f"scene={escaped}"
        folder.mkdir()
        orc.write_table(rows.filter(pc.field("scene") == scene).drop_columns("scene"), str(folder / "part-0.orc"))
    publish_staged(lake, "logs", day, build, {})


def read_folder(folder: Path) -> pd.DataFrame:
    """All rows of the ORC files under a folder; `scene=` folders become a column."""
    parts = []
    for path in sorted(folder.rglob("*.orc")):
        part = orc.ORCFile(str(path)).read().to_pandas()
        if path.parent.name.startswith("scene="):
            part["scene"] = unquote(path.parent.name.removeprefix("scene="))
        parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def read(lake: Lake, table: str, day: date = DAY) -> pd.DataFrame:
    """A published table of a day."""
    return read_folder(Path(lake.table_path(table, day, "a test")))


def contents(lake: Lake, table: str, day: date = DAY) -> list[str]:
    """A published table of a day as sorted text rows: equal for equal sets of rows."""
    frame = read(lake, table, day)
    return sorted(frame[sorted(frame.columns)].astype(str).agg("\t".join, axis=1)) if len(frame) else []
