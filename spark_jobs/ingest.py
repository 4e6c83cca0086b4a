"""Raw files of a day → typed `logs` (by scene), `late` and `quarantine`, staged and audited; every raw row is in one of them.

Spark's Python workers read the files, by the mapping of the raw logs (`include/raw/reading`). `logs` also takes in the events of
the day that came with later days' files (`include/lake/late_events.py`).

spark-submit spark_jobs/ingest.py --from 2023-07-17 --to 2023-07-17
"""

import json
from datetime import date
from functools import partial
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from include import errors
from include.calendar import ONE_DAY
from include.errors import CtrError, InvalidInputError
from include.lake.lake import Lake
from include.lake.late_events import arrivals, late_key, late_part, version_of
from include.lake.manifest import Manifest
from include.quality.repairs import read_repairs
from include.raw.completeness import promised_rows
from include.raw.deliveries import Raw
from include.raw.file_check import check_raw_day, mapping_key, raw_digest
from include.raw.raw_mapping import canonical_mapping, raw_mapping
from include.raw.reading.day_rows import DDL, DayTask, day_rows
from include.raw.reading.rules import Limits
from include.raw.row_rules import DUPLICATE
from include.schemas import DEEP_FEATURES, ENTITY_COLUMNS, RAW_COLUMNS
from include.settings import get_settings
from spark_jobs.session import read_uri, send_code, write_table
from spark_jobs.stage import FirstDay, LastDay, Publish, Staged, exit_clearly, run_job

_FEW = 100_000
_MOST_TASKS = 1_000
_CONTENT = (
    "user_id",
    "item_id",
    "log_ts",
    "label",
    "scene",
    *ENTITY_COLUMNS.values(),
    "item_title",
    *DEEP_FEATURES,
    "raw",
)
"""Columns in which two rows that are the same event are equal; `raw` tells rejected rows apart."""


def build(spark: SparkSession, lake: Lake, day: date, staging: str) -> Staged:
    """Stage `logs`, `late` and `quarantine` of a day.

    Raises `InvalidInputError` where a raw file cannot be read as the mapping says; nothing is staged then.
    """
    inputs = {f"raw/{day}": raw_digest(day)}  # taken first: a file that arrives meanwhile makes the day stale
    paths = check_raw_day(day)
    arrived = arrivals(lake, day)
    if version := version_of(arrived, day):
        inputs[late_key(day)] = version
    profile: dict[str, Any] = {
        "arrived": {str(arrival): late_part(manifest, day)["rows"] for arrival, manifest in arrived.items()}
    }
    late = late_rows(spark, lake, arrived, day)
    if not paths:
        _refuse_to_empty(lake, day)
        _stage_empty(lake, staging, late)
        return Staged(rows_in=0, inputs=inputs, profile=profile | {"declared_empty": True})
    inputs |= mapping_key(day)
    repairs = read_repairs(Raw(), day)
    task = DayTask(
        Raw().url, raw_mapping(), canonical_mapping(), _limits(lake, day), get_settings().entity_separators, repairs
    )
    rows = read_raw(spark, paths, task).persist(StorageLevel.MEMORY_AND_DISK)
    try:
        files = _summaries(rows)
        records = sum(file.get("records", 0) for file in files)
        tagged = rows.where("summary IS NULL")
        rule = duplicate_rule(files)
        profile |= {"files": files, "duplicates": rule, "promised": promised_rows(Raw(), day)}
        rejected = tagged if rule == "keep" else with_duplicates(tagged)
        _write(rejected, late, lake, staging, day, records)
        if repairs:
            applied = sum(file.get("repaired", 0) for file in files)
            profile["repairs"] = {"rows": len(repairs), "applied": applied}
    finally:
        rows.unpersist()
    return Staged(rows_in=records, inputs=inputs, profile=profile)


def _limits(lake: Lake, day: date) -> Limits:
    """Return what rows of a day are held to; late events are never routed to a day before the first published one."""
    settings = get_settings()
    return Limits(
        scenes=settings.scenes,
        max_field_bytes=settings.max_field_bytes,
        earliest=settings.earliest_day,
        day=day,
        oldest=day - settings.late_days * ONE_DAY,
        routed=day if settings.late_events == "quarantine" else min([day, *lake.days("logs")[:1]]),
    )


def read_raw(spark: SparkSession, paths: list[str], task: DayTask) -> DataFrame:
    """Return the rows of raw files (paths under the raw root), as `include/raw/reading/day_rows.py` describes them.

    A task reads one file, or several where there are very many.
    """
    send_code(spark)
    numbers = spark.range(0, len(paths), 1, min(len(paths), _MOST_TASKS))
    return numbers.mapInArrow(partial(day_rows, task, paths), DDL)


def _summaries(rows: DataFrame) -> list[dict[str, Any]]:
    """Return the summary of each file by name; raises the error of the first file that could not be read."""
    found = [json.loads(row["summary"]) for row in rows.where("summary IS NOT NULL").select("summary").collect()]
    files = sorted(found, key=lambda file: str(file["file"]))
    for file in files:
        if "error" in file:
            raise getattr(errors, file["kind"], CtrError)(file["error"])
    return files


def duplicate_rule(files: list[dict[str, Any]]) -> str:
    """Return what becomes of equal events of a day: `reject` or `keep`, as the mapping says.

    By default they are kept where no time of the day has seconds: then equal rows may well be two events.
    """
    mapping = raw_mapping()
    if mapping.duplicates != "auto":
        return mapping.duplicates
    return "reject" if mapping.event_id or any(file.get("seconds") for file in files) else "keep"


def _write(tagged: DataFrame, late: DataFrame | None, lake: Lake, staging: str, day: date, rows: int) -> None:
    """Write the three tables of a day from its tagged rows and the events of the day that came later."""
    good = F.size("reasons") == 0
    bad = F.size("reasons") > 0
    begins = F.lit(str(day)).cast("timestamp")
    own = as_logs(tagged.where(good & (F.col("log_ts") >= begins)))
    logs = own if late is None else own.unionByName(late)
    write_table(logs, "logs", lake.uri(f"{staging}/logs"), rows, by="scene")
    if get_settings().late_events == "route":
        early = as_logs(tagged.where(good & (F.col("log_ts") < begins))).withColumn("day", F.to_date("log_ts"))
        write_table(early, "late", lake.uri(f"{staging}/late"), 0)
    else:
        _write_empty_table(lake, staging, "late")
    write_table(as_quarantine(tagged.where(bad)), "quarantine", lake.uri(f"{staging}/quarantine"), 0)


def _refuse_to_empty(lake: Lake, day: date) -> None:
    """Raise `InvalidInputError` where a day without raw files is published with rows: no build may lose them."""
    published = lake.manifest("logs", day)
    if published and published.rows_in:
        raise InvalidInputError(
            f"logs of {day} are published from {published.rows_in:,} raw rows, and CTR_EMPTY_DAYS declares the day empty: "
            f"expected raw files in {Raw().url}/{Raw().files.folder(day)}, found none. Nothing was changed. "
            f"Restore the raw files, or remove {day} from CTR_EMPTY_DAYS."
        )


def _stage_empty(lake: Lake, staging: str, late: DataFrame | None) -> None:
    """Stage the tables of a day that the settings declare empty: only events that came with later days."""
    if late is None:
        _write_empty_table(lake, staging, "logs")
    else:
        write_table(late, "logs", lake.uri(f"{staging}/logs"), 0, by="scene")
    for table in ("late", "quarantine"):
        _write_empty_table(lake, staging, table)


def _write_empty_table(lake: Lake, staging: str, table: str) -> None:
    """Create an empty folder, a table without rows: readers have the declared schema."""
    lake.fs.makedirs(lake.path(f"{staging}/{table}"), exist_ok=True)


def late_rows(spark: SparkSession, lake: Lake, arrived: dict[date, Manifest], day: date) -> DataFrame | None:
    """Return the rows of a day in the published `late` tables of later days; None where there are no such tables.

    They keep their `event_id`, which names the file and row they came in.
    """
    if not arrived:
        return None
    uris = [lake.uri(manifest.tables["late"].path) for manifest in arrived.values()]
    return read_uri(spark, "late", *uris).where(F.col("day") == F.lit(day)).drop("day")


def with_duplicates(tagged: DataFrame) -> DataFrame:
    """Add the reason `duplicate_event` to rows that are the same event as an earlier one, by file name, then row.

    That is one with the same id in the log, where the log has ids, else one that is equal in every column. Rows are compared with
    those of the same day's files only: an event that comes again with another day's is another event.
    """
    # Hashes first, a few bytes a row; of the few rows that share one, all columns.
    same = ("own_id",) if raw_mapping().event_id else _CONTENT
    keyed = tagged.withColumn("key", F.xxhash64(*same))
    shared = keyed.groupBy("key").count().where("count > 1").select("key").persist()
    number = shared.count()
    if number == 0:
        return tagged
    position = F.struct("source_file", "source_row")
    content = Window.partitionBy("key", *same)
    candidates = keyed.join(_small(shared, number), "key", "left_semi")
    if same == ("own_id",):
        candidates = candidates.where("own_id IS NOT NULL")
    repeated = candidates.withColumn("first", F.min(position).over(content)).where(F.col("first") != position)
    again = repeated.select("source_file", "source_row", F.lit(True).alias("again"))
    return tagged.join(_small(again, number), ["source_file", "source_row"], "left").withColumn(
        "reasons",
        F.when(F.col("again"), F.array_append("reasons", F.lit(DUPLICATE))).otherwise(F.col("reasons")),
    )


def _small(frame: DataFrame, rows: int) -> DataFrame:
    return F.broadcast(frame) if rows <= _FEW else frame


def as_logs(rows: DataFrame) -> DataFrame:
    """Return rows that no rule rejects, in the columns of `logs`."""
    return rows.select(F.concat("source_file", F.lit("#"), "source_row").alias("event_id"), *_CONTENT[:-1])


def as_quarantine(rows: DataFrame) -> DataFrame:
    """Return rejected rows as they came in, before any repair, with the fingerprint by which a repair identifies them.

    A duplicate, which only a comparison of rows has found, is kept as it was mapped.
    """
    texts = {"log_time": F.col("log_ts").cast("string")} | {
        raw: F.array_join(column, get_settings().entity_separators[0]) for raw, column in ENTITY_COLUMNS.items()
    }
    mapped = F.to_json(
        F.struct(
            *(
                texts.get(name, F.col(name).cast("string")).alias(name)
                for name in RAW_COLUMNS
                if name in texts or name in _CONTENT
            )
        )
    )
    return rows.select(
        "source_file",
        "source_row",
        F.coalesce("raw", mapped).alias("raw"),
        "reasons",
        F.coalesce(F.col("fingerprint"), F.xxhash64(*_CONTENT)).alias("fingerprint"),
    )


def main(first: FirstDay, last: LastDay, publish: Publish = False) -> None:
    """Stage and audit 'logs' of each day."""
    run_job("logs", build, first, last, publish=publish)


if __name__ == "__main__":
    exit_clearly(main)
