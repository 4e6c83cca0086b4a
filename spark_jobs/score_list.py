"""Adds to a list of impressions that were never logged the features that impressions of the day have.

    spark-submit spark_jobs/score_list.py --from 2023-07-17 --to 2023-07-17 --list _lists/0123456789abcdef

The code that types raw logs types the columns, and the code that makes training rows joins them: the same row gets the same
features, whether it was logged or comes from a list.
"""

from typing import Annotated

import typer
from pyspark.sql import functions as F

from include.calendar import previous
from include.errors import InvalidInputError
from include.lake.lake import get_lake
from include.raw.score_list import PLACE, rows_path
from spark_jobs.columns import parsed_time
from spark_jobs.ingest import typed
from spark_jobs.session import get_session, own_session, read_table, write_table
from spark_jobs.stage import FirstDay, LastDay, emit, exit_clearly
from spark_jobs.training_table import history_before, join_features

TEXTS = ("item_title", "item_entities")


def main(
    day: FirstDay,
    last: LastDay,  # noqa: ARG001, every job has it
    folder: Annotated[str, typer.Option("--list", help="folder of the list in the lake")],
) -> None:
    """Join a list of impressions to the features of a day, and write the rows beside it.

    Raises `MissingDataError` where the features of the day before are not published, `InvalidInputError` for an invalid time.
    """
    lake = get_lake()
    spark = own_session(get_session(f"list {day}"), lake.size(folder))
    raw = spark.read.parquet(lake.uri(f"{folder}/list.parquet")).select(
        "*",
        F.lit("list").alias("source_file"),
        F.lpad(F.col(PLACE).cast("string"), 12, "0").alias("source_row"),
        F.lit(None).cast("string").alias("label"),
        parsed_time(F.trim("log_time")).alias("log_ts"),
    )
    if wrong := raw.where("log_ts IS NULL").select(PLACE, "log_time").take(1):
        raise InvalidInputError(
            f"Row {wrong[0][PLACE] + 1} of the list has the log_time '{wrong[0]['log_time']}': expected a UTC time as "
            f"'{day} 18:30:00', or none."
        )
    history, _ = history_before(spark, lake, day)
    listed = typed(raw)
    if lake.manifest("features", previous(day)):
        items = read_table(spark, lake, "items", previous(day), f"The list of {day}").select("item_id", *TEXTS)
        listed = (
            listed.alias("l")
            .join(items.alias("i"), "item_id", "left")
            .select(
                *(f"l.{name}" for name in listed.columns if name not in (*TEXTS, "item_id")),
                "item_id",
                F.coalesce("l.item_title", "i.item_title").alias("item_title"),
                F.when(F.size("l.item_entities") > 0, F.col("l.item_entities"))
                .otherwise(F.coalesce("i.item_entities", "l.item_entities"))
                .alias("item_entities"),
            )
        )
    path = rows_path(folder, day)
    if lake.fs.exists(lake.path(path)):
        lake.fs.rm(lake.path(path), recursive=True)
    write_table(join_features(listed, history, day), "training", lake.uri(path), raw.count())
    emit("list", day, "written", rows=lake.orc_rows(path))


if __name__ == "__main__":
    exit_clearly(main)
