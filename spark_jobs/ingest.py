"""Raw CSV of a day → typed `logs` (by scene), `late` and `quarantine`, staged and audited; every raw row ends up in one of them.

`logs` also takes in the events of the day that came with later days' files (`include/lake/late_events.py`).

spark-submit spark_jobs/ingest.py --from 2023-07-17 --to 2023-07-17
"""

import re
from collections import defaultdict
from datetime import date
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from include.calendar import ONE_DAY
from include.errors import InvalidInputError
from include.lake.lake import Lake
from include.lake.late_events import arrivals, late_key, late_part, version_of
from include.lake.manifest import Manifest
from include.lake.table_ddl import sql_text
from include.quality.repairs import REPAIRS_DDL
from include.raw.deliveries import Raw, day_folder, repairs_path
from include.raw.file_check import RawFile, check_raw_day, raw_digest, recount
from include.raw.row_rules import DUPLICATE, MALFORMED, ROW_RULES
from include.schemas import DEEP_FEATURES, RAW_COLUMNS
from include.settings import get_settings
from spark_jobs.columns import parsed_time
from spark_jobs.session import one_file_a_task, read_uri, write_table
from spark_jobs.stage import FirstDay, LastDay, Publish, Staged, exit_clearly, run_job

_CORRUPT = "_corrupt_record"
_FEW = 100_000
_ENTITIES = {
    "bill_entities": "bill_entity_seq",
    "service_entities": "service_entity_seq",
    "query_entities": "query_entity_seq",
    "item_entities": "item_entity_names",
}


def build(spark: SparkSession, lake: Lake, day: date, staging: str) -> Staged:
    """Stage `logs`, `late` and `quarantine` of a day.

    Raises `InvalidInputError` before Spark reads anything where a raw file has the wrong form.
    """
    inputs = {f"raw/{day}": raw_digest(day)}  # taken first: a file that arrives meanwhile makes the day stale
    files = check_raw_day(day)
    arrived = arrivals(lake, day)
    if version := version_of(arrived, day):
        inputs[late_key(day)] = version
    profile: dict[str, Any] = {
        "arrived": {str(arrival): late_part(manifest, day)["rows"] for arrival, manifest in arrived.items()}
    }
    late = late_rows(spark, lake, arrived, day)
    if not files:
        _refuse_to_empty(lake, day)
        _stage_empty(lake, staging, late)
        return Staged(rows_in=0, inputs=inputs, profile=profile | {"declared_empty": True})
    rows = sum(file.records for file in files)
    repairs = read_repairs(spark, day)
    with one_file_a_task(spark):
        tagged = tag_rows(with_repairs(read_raw(spark, files, day), repairs), day, _routed_from(lake, day))
        tagged = tagged.persist(StorageLevel.MEMORY_AND_DISK)
        rejected = with_duplicates(tagged)
    try:
        _write(rejected, late, lake, staging, day, rows)
        if repairs is not None:
            applied = tagged.where(F.col("original").isNotNull()).count()
            profile["repairs"] = {"rows": repairs.count(), "applied": applied}
    finally:
        tagged.unpersist()
    written = sum(lake.orc_rows(f"{staging}/{table}") for table in ("logs", "late", "quarantine"))
    if written - sum(profile["arrived"].values()) != rows:
        # Stray quotes mislead the quick count: count again with a parser that is independent of Spark.
        rows = sum(recount(file) for file in files)
    return Staged(rows_in=rows, inputs=inputs, profile=profile)


def _write(tagged: DataFrame, late: DataFrame | None, lake: Lake, staging: str, day: date, rows: int) -> None:
    """Write the three tables of a day from its tagged rows and the events of the day that came later."""
    good = F.size("reasons") == 0
    bad = F.size("reasons") > 0
    begins = F.lit(str(day)).cast("timestamp")
    own = typed(tagged.where(good & (F.col("log_ts") >= begins)))
    logs = own if late is None else own.unionByName(late)
    write_table(logs, "logs", lake.uri(f"{staging}/logs"), rows, by="scene")
    if get_settings().late_events == "route":
        early = typed(tagged.where(good & (F.col("log_ts") < begins))).withColumn("day", F.to_date("log_ts"))
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
            f"expected raw files in {Raw().url}/{day_folder(day)}, found none. Nothing was changed. "
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


def read_repairs(spark: SparkSession, day: date) -> DataFrame | None:
    """Return the repairs of single raw rows of a day (`include/quality/repairs.py`); None where there are none."""
    raw = Raw()
    if not raw.fs.exists(raw.full(repairs_path(day))):
        return None
    return spark.read.schema(REPAIRS_DDL).json(f"{raw.url}/{repairs_path(day)}")


def with_repairs(raw: DataFrame, repairs: DataFrame | None) -> DataFrame:
    """Return the raw rows with the columns of their repairs, and what came in as `original`, `original_fingerprint`.

    A repair fits one row of one file with one content; a row that has changed since is not repaired.
    """
    if repairs is None:
        return raw.select(
            "*",
            F.lit(None).cast("string").alias("original"),
            F.lit(None).cast("bigint").alias("original_fingerprint"),
        )
    key = ["source_file", "source_row", "fingerprint"]
    joined = raw.withColumn("fingerprint", _fingerprint()).join(
        F.broadcast(repairs.select(*key, "columns", "numbers_only")), key, "left"
    )
    repaired = F.col("columns").isNotNull()
    return joined.select(
        "source_file",
        "source_row",
        F.when(~(repaired & F.col("numbers_only")), F.col(_CORRUPT)).alias(_CORRUPT),
        "malformed",
        *(_repaired(name) for name in RAW_COLUMNS),
        F.when(repaired, _raw_text()).alias("original"),
        F.when(repaired, F.col("fingerprint")).alias("original_fingerprint"),
    )


def _repaired(name: str) -> Column:
    new, old = F.col("columns")[name], F.col(name)
    if name in DEEP_FEATURES:
        return F.when(new.isNotNull(), new.try_cast("double")).otherwise(old).alias(name)
    return F.coalesce(new, old).alias(name)


def _fingerprint() -> Column:
    """Return a hash of a raw row's content."""
    return F.xxhash64(*RAW_COLUMNS, _CORRUPT)


def _raw_text() -> Column:
    """Return what came in: the raw record where it does not fit its header, else its columns as JSON."""
    return F.coalesce(F.col(_CORRUPT), F.to_json(F.struct(*RAW_COLUMNS)))


def read_raw(spark: SparkSession, files: list[RawFile], day: date) -> DataFrame:
    """Return all raw columns (null where a file lacks an optional one), `_corrupt_record`, `source_file` and `source_row`.

    Text columns come as text, deep features as numbers. `_corrupt_record` is the raw record where the number of fields
    differs from the header's, or where a deep feature is no number; `malformed` marks the first case. Files with the
    same header are read together; `source_row` counts a file's data records from 0.
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
            F.concat(F.lit(f"date={day}/"), _decoded_name(F.col("_metadata.file_name"), urls)).alias("source_file"),
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


def _decoded_name(file_name: Column, urls: list[str]) -> Column:
    """Return a file's real name: Spark gives it URL-encoded, with a plus sign unencoded."""
    if all(re.fullmatch(r"[\w.=-]+", url.rsplit("/", 1)[-1], re.ASCII) for url in urls):
        return file_name
    return F.url_decode(F.replace(file_name, F.lit("+"), F.lit("%2B")))


def _raw_type(name: str) -> str:
    return "double" if name in DEEP_FEATURES else "string"


def _fields_differ(columns: tuple[str, ...]) -> Column:
    """Return whether the number of fields of a corrupt record differs from its header's, the only fault of a text record."""
    schema = ", ".join(f"`{name}` string" for name in (*columns, "_wrong"))
    options = {
        "quote": '"',
        "escape": '"',
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": "_wrong",
        "multiLine": "true",
    }
    return F.from_csv(F.col(_CORRUPT), schema, options)["_wrong"].isNotNull()


def _routed_from(lake: Lake, day: date) -> date:
    """Return the first day that late events are routed to, `day` for none: never one before the first published day."""
    return day if get_settings().late_events == "quarantine" else min([day, *lake.days("logs")[:1]])


def tag_rows(raw: DataFrame, day: date, routed_from: date) -> DataFrame:
    """Add `log_ts`, `fingerprint` (of all raw columns) and `reasons`, the names of the row rules that a row breaks.

    Rows of a day before `day` are late events; those of `routed_from` or later days are accepted.
    """
    values = {
        "routed": routed_from,
        "ends": day + ONE_DAY,
        "oldest": day - get_settings().late_days * ONE_DAY,
        "scenes": ", ".join(map(sql_text, get_settings().scenes)),
        "max_field_bytes": get_settings().max_field_bytes,
    }
    rules = [rule for rule in ROW_RULES if rule.name != MALFORMED]
    broken = [F.when(F.expr(rule.rejects.format(**values)), rule.name) for rule in rules]
    any_broken = F.expr(" OR ".join(f"coalesce({rule.rejects.format(**values)}, false)" for rule in rules))
    return raw.withColumn("log_ts", parsed_time(F.trim("log_time"))).select(
        "*",
        _fingerprint().alias("fingerprint"),
        F.when(F.col("malformed"), F.array(F.lit(MALFORMED)))
        # Nearly every row is clean: it needs no array of reasons.
        .when(any_broken, F.array_compact(F.array(*broken)))
        .otherwise(F.array().cast("array<string>"))
        .alias("reasons"),
    )


def with_duplicates(tagged: DataFrame) -> DataFrame:
    """Add the reason `duplicate_event` to rows equal to an earlier one (by file name, then row) in every raw column.

    Rows are compared with those of the same day's files only: an event that comes again with another day's is another event.
    """
    # Fingerprints first, a few bytes a row; of the few rows that share one, all columns.
    shared = tagged.groupBy("fingerprint").count().where("count > 1").select("fingerprint").persist()
    number = shared.count()
    if number == 0:
        return tagged
    position = F.struct("source_file", "source_row")
    content = Window.partitionBy("fingerprint", *RAW_COLUMNS, _CORRUPT)
    candidates = tagged.join(_small(shared, number), "fingerprint", "left_semi")
    repeated = candidates.withColumn("first", F.min(position).over(content)).where(F.col("first") != position)
    again = repeated.select("source_file", "source_row", F.lit(True).alias("again"))
    return tagged.join(_small(again, number), ["source_file", "source_row"], "left").withColumn(
        "reasons",
        F.when(F.col("again"), F.array_append("reasons", F.lit(DUPLICATE))).otherwise(F.col("reasons")),
    )


def _small(frame: DataFrame, rows: int) -> DataFrame:
    return F.broadcast(frame) if rows <= _FEW else frame


def typed(rows: DataFrame) -> DataFrame:
    """Return rows that no rule rejects, in the columns and types of `logs`."""
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
    """Return the trimmed, non-empty entities of a sequence, in order; an empty array where there are none."""
    # One regular expression trims as it splits: a lambda over each array takes twice as long.
    separators = " *[" + "".join(re.escape(character) for character in get_settings().entity_separators) + "] *"
    return F.array_remove(F.split(F.trim(F.coalesce(sequence, F.lit(""))), separators), "")


def as_quarantine(rows: DataFrame) -> DataFrame:
    """Return rejected rows as they came in, before any repair, with the fingerprint by which a repair identifies them."""
    return rows.select(
        "source_file",
        "source_row",
        F.coalesce(F.col("original"), _raw_text()).alias("raw"),
        "reasons",
        F.coalesce("original_fingerprint", "fingerprint").alias("fingerprint"),
    )


def main(first: FirstDay, last: LastDay, publish: Publish = False) -> None:
    """Stage and audit 'logs' of each day."""
    run_job("logs", build, first, last, publish=publish)


if __name__ == "__main__":
    exit_clearly(main)
