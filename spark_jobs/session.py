"""The Spark session of every job, and how jobs read and write tables of the lake."""

import atexit
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Literal, cast

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from include.lake.lake import Lake
from include.lake.table_ddl import sql_text, table_ddl
from include.orchestration.spark_submit import SMALL_DAY_BYTES
from include.setting_groups import PROJECT
from include.settings import get_settings

ROWS_PER_FILE = 250_000
_CODE = "ctr-code.zip"
_PARTITION_BYTES = 64 << 20
_DISTINCT = ("event_id", "user_id")
"""Columns whose values hardly repeat within a file: looking for a dictionary would only cost time."""

_SQL = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.sources.default": "orc",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
_CONTEXT = {
    # Staging is invisible until it is complete, so the slower two-step commit of files buys nothing.
    "spark.hadoop.mapreduce.fileoutputcommitter.algorithm.version": "2",
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    # Hadoop's client waits for a NameNode that restarts: it tries a call 6 times, and 6 times to connect for each, 2 s apart.
    "spark.hadoop.dfs.client.retry.policy.enabled": "true",
    "spark.hadoop.dfs.client.retry.policy.spec": "2000,6",
    # A day's queries are those of the day before: with room for their generated code, it is compiled once.
    "spark.sql.codegen.cache.maxEntries": "1000",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    # ORC files keep the time zone of their writer.
    "spark.executor.extraJavaOptions": "-Duser.timezone=UTC -XX:-DontCompileHugeMethods",
}


def get_session(name: str) -> SparkSession:
    """Return the Spark session: UTC, ANSI, ORC; master and memory come from spark-submit where it set them."""
    # Python workers run what the driver runs: on a cluster, the same path in the image of its nodes, unless one is set.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(f"ctr {name}")
    for key, value in {**_SQL, **_CONTEXT}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    java = spark.sparkContext._jvm.java  # type: ignore[union-attr]
    java.util.TimeZone.setDefault(java.util.TimeZone.getTimeZone("UTC"))
    return spark


def send_code(spark: SparkSession) -> None:
    """Send the project's code to the Python workers of a cluster; those of this machine have it."""
    context = spark.sparkContext
    if str(context.master).startswith("local") or any(name.endswith(_CODE) for name in context.listFiles):
        return
    folder = Path(tempfile.mkdtemp(prefix="ctr-code-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # not before: executors fetch it when they start
    with zipfile.ZipFile(folder / _CODE, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted((PROJECT / "include").rglob("*.py")):
            archive.write(file, file.relative_to(PROJECT))
    context.addPyFile(str(folder / _CODE))


def own_session(spark: SparkSession, input_bytes: int) -> SparkSession:
    """Return a session with its own settings, so that days can run at the same time; `input_bytes` is what a day reads.

    Adaptive execution pays on large days; on small ones it only doubles the number of Spark jobs. Large days get enough
    shuffle partitions for each to fit into memory.
    """
    own = spark.newSession()
    large = input_bytes > SMALL_DAY_BYTES
    options = {
        **_SQL,
        "spark.sql.shuffle.partitions": str(
            max(get_settings().spark_shuffle_partitions, input_bytes // _PARTITION_BYTES)
        ),
        "spark.sql.adaptive.enabled": str(large).lower(),
        # A join by user and item may reuse a partitioning by user.
        "spark.sql.requireAllClusterKeysForCoPartition": "false",
    }
    for key, value in options.items():
        own.conf.set(key, value)
    return own


def declared_schema(table: str) -> StructType:
    """Return the declared columns and types of a table."""
    return cast(StructType, StructType.fromDDL(table_ddl(table)))


def read_uri(spark: SparkSession, table: str, *uris: str) -> DataFrame:
    """Read builds of a table with its declared schema; the `scene` folder of `logs` becomes a string column."""
    return spark.read.schema(table_ddl(table)).orc(list(uris))


def read_table(spark: SparkSession, lake: Lake, table: str, day: date, needed_for: str) -> DataFrame:
    """Read the published build of a table's day; raises `MissingDataError` if there is none."""
    return read_uri(spark, table, lake.table_uri(table, day, needed_for))


def write_table(frame: DataFrame, table: str, uri: str, rows: int, by: Literal["scene"] | None = None) -> None:
    """Write a table with its declared columns and types, in files of about `ROWS_PER_FILE` rows (`rows`: an estimate)."""
    declared = frame.to(declared_schema(table))
    writer = declared.coalesce(max(1, -(-rows // ROWS_PER_FILE))).write
    options = {"compression": "lz4", "orc.column.encoding.direct": ",".join(_DISTINCT)}
    (writer.partitionBy(by) if by else writer).options(**options).orc(uri)


def days_read(frame: DataFrame) -> dict[str, str]:
    """Return the newest day of each lake table among the files that a frame is computed from, according to Spark's plan."""
    newest: dict[str, str] = {}
    for file in frame.inputFiles():
        if match := re.search(r"/(\w+)/dt=(\d{4}-\d{2}-\d{2})/", file):
            table, day = match.groups()
            newest[table] = max(newest.get(table, ""), day)
    return newest


def few_rows(spark: SparkSession, table: str, rows: Sequence[tuple[str | int | float, ...]]) -> DataFrame:
    """Return a few rows of a table as constants of the plan: unlike `createDataFrame`, this starts no Python worker."""
    fields = declared_schema(table).fields
    values = [
        [
            f"CAST({_literal(value)} AS {field.dataType.simpleString()})"
            for value, field in zip(row, fields, strict=True)
        ]
        for row in rows
    ]
    nulls = [f"CAST(NULL AS {field.dataType.simpleString()})" for field in fields]
    names = ", ".join(field.name for field in fields)
    tuples = ", ".join(f"({', '.join(row)})" for row in values or [nulls])
    frame = spark.sql(f"SELECT * FROM VALUES {tuples} AS t({names})")  # noqa: S608
    return frame if rows else frame.limit(0)


def _literal(value: str | int | float) -> str:
    return sql_text(value) if isinstance(value, str) else repr(value)


def together(*steps: Callable[[], None]) -> None:
    """Run independent steps at the same time; raise the first error once all have ended.

    Planning and committing small tables is the driver's work, done by one thread a step: two steps use two cores.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        for future in [pool.submit(step) for step in steps]:
            future.result()
