"""The feature tables of a day from all logs at once, in plain Spark SQL: the reference for the incremental tables.

    spark-submit benchmarks/features/spark_recompute.py --day 2023-08-08 --out FOLDER

Prints `{"seconds", "differences"}`: the rows in which users' and items' counts differ from the published ones, expected 0.
"""

import json
import time
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from pyspark.sql import SparkSession

from include.calendar import parse_day, window
from include.features import NEUTRAL_CTR, prior_strength
from include.lake.lake import Lake, get_lake
from include.lake.table_ddl import table_ddl
from include.orchestration.spark_submit import SMALL_DAY_BYTES
from include.settings import get_settings
from spark_jobs.session import get_session, own_session, read_table
from spark_jobs.stage import exit_clearly

_OF_ROWS = "count(1) AS impressions, sum(bigint(label)) AS clicks"
_ITEMS = """
    SELECT item_id, max_by(item_title, CASE WHEN item_title IS NOT NULL THEN struct(at, item_title) END) AS item_title,
        max_by(item_entities, CASE WHEN size(item_entities) > 0 THEN struct(dt, rows, item_entities) END) AS item_entities,
        date(min(dt)) AS first_seen, date(max(dt)) AS last_seen
    FROM (
        SELECT item_id, item_entities, dt, count(1) AS rows, max(log_ts) AS at, max_by(item_title, log_ts) AS item_title
        FROM logs GROUP BY item_id, item_entities, dt
    ) GROUP BY item_id"""
_TEXTS = """
    SELECT DISTINCT xxhash64(text) AS text_key, text, kind FROM (
        SELECT item_title AS text, 'title' AS kind FROM log
        UNION ALL
        SELECT explode(array_distinct(concat(item_entities, query_entities, service_entities, bill_entities))), 'entity' FROM log
    ) WHERE text IS NOT NULL"""
_COMPARED = ("features_user", "features_item", "totals_user", "totals_item")


def recompute(spark: SparkSession, lake: Lake, day: date, out: str) -> None:
    """Write every feature table of `day` below `out`, from the logs so far and nothing else."""
    days = [past for past in lake.days("logs") if past <= day]
    uris = [lake.table_uri("logs", past, "a full recompute") for past in days]
    schema = table_ddl("logs") + ", dt string, build string"
    spark.read.schema(schema).option("basePath", lake.uri("logs")).orc(uris).createOrReplaceTempView("logs")
    spark.sql(f"SELECT * FROM logs WHERE dt = '{day}'").createOrReplaceTempView("log")
    spark.sql(f"SELECT * FROM logs WHERE dt >= '{window(day)[0]}'").createOrReplaceTempView("week")
    queries = {
        "agg_user": f"SELECT user_id, scene, {_OF_ROWS} FROM log GROUP BY ALL",
        "agg_item": f"SELECT item_id, scene, {_OF_ROWS} FROM log GROUP BY ALL",
        "agg_user_item": f"SELECT user_id, item_id, scene, {_OF_ROWS} FROM log GROUP BY ALL",
        "agg_user_topic": (
            f"SELECT user_id, xxhash64(item_entities[0]) AS topic_key, {_OF_ROWS} FROM log "
            "WHERE size(item_entities) > 0 GROUP BY ALL"
        ),
        **{f"features_{entity}": _week(entity) for entity in ("user", "item")},
        **{f"totals_{entity}": _totals(entity) for entity in ("user", "item")},
        "items": _ITEMS,
        "texts": _TEXTS,
    }
    for table, query in queries.items():
        spark.sql(query).coalesce(4).write.orc(f"{out}/{table}")
    _write_scenes(spark, out)


def _week(entity: str) -> str:
    pivot = "".join(
        f", count_if(scene = '{scene}') AS impressions_7d_scene_{n}, "
        f"count_if(scene = '{scene}' AND label = 1) AS clicks_7d_scene_{n}"
        for n, scene in enumerate(get_settings().scenes)
    )
    return (
        f"SELECT {entity}_id, count(1) AS impressions_7d, sum(bigint(label)) AS clicks_7d{pivot} "
        f"FROM week GROUP BY {entity}_id"
    )


def _totals(entity: str) -> str:
    return (
        f"SELECT {entity}_id, count(1) AS impressions_total, sum(bigint(label)) AS clicks_total, date(min(dt)) AS first_seen, "
        "date(max(dt)) AS last_seen, date(max(CASE WHEN label = 1 THEN dt END)) AS last_clicked "
        f"FROM logs GROUP BY {entity}_id"
    )


def _write_scenes(spark: SparkSession, out: str) -> None:
    sums = {}
    for entity in ("user", "item"):
        spark.read.orc(f"{out}/features_{entity}").createOrReplaceTempView("keys")
        sums[entity] = [
            spark.sql(
                f"SELECT count_if(n > 0), coalesce(sum(n), 0L), coalesce(sum(x), 0L), coalesce(sum(double(n) * n), 0D), "
                "coalesce(sum(try_divide(double(x) * x, n)), 0D) "
                f"FROM (SELECT impressions_7d_scene_{n} AS n, clicks_7d_scene_{n} AS x FROM keys)"
            ).collect()[0]
            for n in range(len(get_settings().scenes))
        ]
    k = get_settings().ctr_smoothing
    impressions, clicks = (sum(row[n] for row in sums["item"]) for n in (1, 2))
    prior = (clicks + k * NEUTRAL_CTR) / (impressions + k)
    rows = [
        (
            scene,
            item[1],
            item[2],
            (item[2] + k * prior) / (item[1] + k),
            prior,
            prior_strength(*user, too_few=get_settings().ctr_smoothing),
            prior_strength(*item, too_few=get_settings().ctr_smoothing),
        )
        for scene, user, item in zip(get_settings().scenes, sums["user"], sums["item"], strict=True)
    ]
    spark.createDataFrame(rows, table_ddl("features_scene")).coalesce(1).write.orc(f"{out}/features_scene")


def differences(spark: SparkSession, lake: Lake, day: date, out: str) -> int:
    """Return the number of count rows that only the published or only the recomputed tables have."""
    count = 0
    for table in _COMPARED:
        published = read_table(spark, lake, table, day, "a comparison")
        recomputed = spark.read.orc(f"{out}/{table}").select(*published.columns)
        count += published.exceptAll(recomputed).count() + recomputed.exceptAll(published).count()
    return count


def main(day: Annotated[date, typer.Option(parser=parse_day)], out: Annotated[Path, typer.Option()]) -> None:
    """Recompute the feature tables of a day from all logs and compare them with the published ones."""
    spark = own_session(get_session(f"recompute {day}"), SMALL_DAY_BYTES + 1)
    lake = get_lake()
    uri = out.resolve().as_uri()
    started = time.monotonic()
    recompute(spark, lake, day, uri)
    seconds = time.monotonic() - started
    result = {"seconds": round(seconds, 2), "differences": differences(spark, lake, day, uri)}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    exit_clearly(main)
