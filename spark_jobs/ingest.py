"""Raw CSV of a day → typed `logs` (by scene) and `quarantine`, staged and audited; every raw row ends in one of the two.

spark-submit spark_jobs/ingest.py --from 2023-07-17 --to 2023-07-17
"""

import re
from collections import defaultdict
from datetime import date

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from include.errors import InvalidInputError
from include.lake import Lake
from include.raw import Raw
from include.raw_check import RawFile, check_raw_day, raw_digest, recount
from include.row_rules import DUPLICATE, MALFORMED, ROW_RULES
from include.schemas import DEEP_FEATURES, RAW_COLUMNS, TIMESTAMP_FORMATS
from include.settings import settings
from spark_jobs.session import one_file_a_task, write_table
from spark_jobs.stage import Staged, exit_clearly, run_job

_CORRUPT = "_corrupt_record"
_FEW = 100_000
_ENTITIES = {
    "bill_entities": "bill_entity_seq",
    "service_entities": "service_entity_seq",
    "query_entities": "query_entity_seq",
    "item_entities": "item_entity_names",
}


def build(spark: SparkSession, lake: Lake, day: date, staging: str) -> Staged:
    """Stages `logs` and `quarantine` of a day; raises before Spark starts where a raw file has the wrong form."""
    files = check_raw_day(day)
    digest = raw_digest(day)
    rows = sum(file.records for file in files)
    with one_file_a_task(spark):
        tagged = tag_rows(read_raw(spark, files, day), day).persist(StorageLevel.MEMORY_AND_DISK)
        rejected = with_duplicates(tagged)
    try:
        good, bad = F.size("reasons") == 0, F.size("reasons") > 0
        write_table(typed(rejected.where(good)), "logs", lake.uri(f"{staging}/logs"), rows, by="scene")
        write_table(as_quarantine(rejected.where(bad)), "quarantine", lake.uri(f"{staging}/quarantine"), 0)
    finally:
        tagged.unpersist()
    found = lake.orc_rows(f"{staging}/logs") + lake.orc_rows(f"{staging}/quarantine")
    if found != rows:  # stray quotes mislead the quick count: ask a parser that has nothing to do with Spark
        rows = sum(recount(file) for file in files)
    return Staged(rows_in=rows, inputs={f"raw/{day}": digest})


def read_raw(spark: SparkSession, files: list[RawFile], day: date) -> DataFrame:
    """All raw columns, nulls for optional ones that a file lacks, `_corrupt_record`, `source_file` and `source_row`.

    Text columns come as text, deep features as numbers. `_corrupt_record` is the raw record where the number of fields
    differs from the header's, or where a deep feature is no number; `malformed` tells the first from the second. Files with
    the same header are read together; `source_row` counts a file's data records from 0.
    """
    groups = defaultdict(list)
    for file in files:
        groups[file.columns].append(f"{Raw().url}/{file.name}")
    frame: DataFrame | None = None
    for columns, urls in groups.items():
        read = (
            spark.read.schema(", ".join(f"`{name}` {_raw_type(name)}" for name in (*columns, _CORRUPT)))
            .options(header=True, multiLine=True, quote='"', escape='"', encoding="UTF-8", mode="PERMISSIVE")
            .option("columnNameOfCorruptRecord", _CORRUPT)
            .csv(urls)
        )
        group = read.select(
            F.concat(F.lit(f"date={day}/"), _plain(F.col("_metadata.file_name"))).alias("source_file"),
            F.monotonically_increasing_id().bitwiseAND(F.lit((1 << 33) - 1)).alias("source_row"),
            _CORRUPT,
            F.when(F.col(_CORRUPT).isNotNull(), _fields_differ(columns)).otherwise(F.lit(False)).alias("malformed"),
            *(
                (F.col(name) if name in columns else F.lit(None).cast(_raw_type(name)).alias(name))
                for name in RAW_COLUMNS
            ),
        )
        frame = group if frame is None else frame.unionByName(group)
    if frame is None:
        raise InvalidInputError(f"No raw file of {day} to read.")
    return frame


def _plain(file_name: Column) -> Column:
    """A file's name as it is written: Spark gives it as in a URL, where only a plus sign stands for itself."""
    return F.url_decode(F.replace(file_name, F.lit("+"), F.lit("%2B")))


def _raw_type(name: str) -> str:
    return "double" if name in DEEP_FEATURES else "string"


def _fields_differ(columns: tuple[str, ...]) -> Column:
    """Whether a corrupt record has another number of fields than its header: all that can be wrong once it is read as text."""
    schema = ", ".join(f"`{name}` string" for name in (*columns, "_wrong"))
    options = {
        "quote": '"',
        "escape": '"',
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": "_wrong",
        "multiLine": "true",
    }
    return F.from_csv(F.col(_CORRUPT), schema, options)["_wrong"].isNotNull()


def tag_rows(raw: DataFrame, day: date) -> DataFrame:
    """Adds `log_ts`, `fingerprint` (of all raw columns) and `reasons`, the names of the row rules that a row breaks."""
    values = {
        "day": day,
        "scenes": ", ".join(f"'{scene}'" for scene in settings().scenes),
        "max_field_bytes": settings().max_field_bytes,
    }
    broken = [F.when(F.expr(rule.rejects.format(**values)), rule.name) for rule in ROW_RULES if rule.name != MALFORMED]
    times = [F.try_to_timestamp(F.trim("log_time"), F.lit(pattern)) for pattern in TIMESTAMP_FORMATS]
    everything = [F.col(name) for name in (*RAW_COLUMNS, _CORRUPT)]
    return raw.withColumn("log_ts", F.coalesce(*times)).select(
        "*",
        F.struct(F.xxhash64(*everything), F.hash(*everything)).alias("fingerprint"),
        F.when(F.col("malformed"), F.array(F.lit(MALFORMED)))
        .otherwise(F.array_compact(F.array(*broken)))
        .alias("reasons"),
    )


def with_duplicates(tagged: DataFrame) -> DataFrame:
    """Adds the reason `duplicate_event` to rows equal to an earlier one (by file name, then row) in every raw column."""
    place = F.struct("source_file", "source_row")
    repeated = (
        tagged.groupBy("fingerprint")
        .agg(F.min(place).alias("first"), F.count(F.lit(1)).alias("times"))
        .where("times > 1")
        .select("fingerprint", "first")
    )
    number = repeated.limit(_FEW + 1).count()
    if number == 0:
        return tagged
    again = F.col("first").isNotNull() & (F.col("first") != place)
    return tagged.join(F.broadcast(repeated) if number <= _FEW else repeated, "fingerprint", "left").withColumn(
        "reasons", F.when(again, F.array_append("reasons", F.lit(DUPLICATE))).otherwise(F.col("reasons"))
    )


def typed(rows: DataFrame) -> DataFrame:
    """Rows that no rule rejects, in the columns and types of `logs`."""
    return rows.select(
        F.concat("source_file", F.lit("#"), "source_row").alias("event_id"),
        F.trim("user_id").alias("user_id"),
        F.trim("item_id").alias("item_id"),
        "log_ts",
        F.trim("label").cast("tinyint").alias("label"),
        F.trim("scene").alias("scene"),
        *(split_entities(F.col(raw)).alias(name) for name, raw in _ENTITIES.items()),
        F.nullif(F.trim("item_title"), F.lit("")).alias("item_title"),
        *DEEP_FEATURES,
    )


def split_entities(sequence: Column) -> Column:
    """The trimmed, non-empty entities of a sequence, in order; an empty array where there are none."""
    separators = "[" + "".join(re.escape(character) for character in settings().entity_separators) + "]"
    entities = F.transform(F.split(F.coalesce(sequence, F.lit("")), separators), lambda entity: F.trim(entity))
    return F.filter(entities, lambda entity: entity != "")


def as_quarantine(rows: DataFrame) -> DataFrame:
    """Rejected rows with all that came in: the raw record where it has the wrong number of fields, else its columns as JSON."""
    return rows.select(
        "source_file",
        "source_row",
        F.coalesce(F.col(_CORRUPT), F.to_json(F.struct(*RAW_COLUMNS))).alias("raw"),
        "reasons",
    )


def main(argv: list[str] | None = None) -> None:
    """Command line: see `spark_jobs.stage.run_job`."""
    run_job("logs", build, argv)


if __name__ == "__main__":
    exit_clearly(main)
