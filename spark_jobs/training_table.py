"""Training rows of a day: its log joined to the features as of the day's start, one row for each impression of a listed scene.

    spark-submit spark_jobs/training_table.py --from 2023-07-17 --to 2023-07-17

Nothing of the day itself is read but the impressions: no feature can know a click of its own day.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from include.calendar import previous, window
from include.features import FEATURES, NEUTRAL_CTR, Feature, level_of
from include.lake.lake import Lake
from include.lake.table_ddl import sql_text
from include.schemas import DEEP_FEATURES
from include.settings import get_settings
from include.stages import SNAPSHOTS, TABLES
from spark_jobs.columns import topic_key
from spark_jobs.features import published_before
from spark_jobs.scenes import every_scene, read_week, rows_by_unlisted_scene
from spark_jobs.session import days_read, few_rows, read_uri, write_table
from spark_jobs.stage import FirstDay, LastDay, Publish, Staged, exit_clearly, run_job

_PAIRS = {"user_item": ("agg_user_item", "item_id"), "user_topic": ("agg_user_topic", "topic_key")}
_ROWS_OF_A_SMALL_TABLE = 200_000


@dataclass(frozen=True)
class History:
    """The data available when a day began: the snapshots of the day before, and the pairs of the seven days before.

    `tables` holds `features_…` and `totals_…` by name, `pairs` the counts by `user_id` and `item_id` or `topic_key`;
    `small` names the tables that fit into every executor.
    """

    tables: dict[str, DataFrame]
    pairs: dict[str, DataFrame]
    small: frozenset[str] = frozenset()


def build(spark: SparkSession, lake: Lake, day: date, staging: str) -> Staged:
    """Stage `training`, without the rows of scenes that were removed from the settings.

    Raises `MissingDataError` where the logs of the day or earlier features are missing.
    """
    purpose = f"training {day}"
    logs = lake.require("logs", day, purpose)
    history, inputs = history_before(spark, lake, day)
    log = read_uri(spark, "logs", lake.uri(logs.table("logs").path))
    profile: dict[str, Any] = {}
    if unlisted := rows_by_unlisted_scene(lake, logs):
        log = log.where(F.col("scene").isin(*get_settings().scenes))
        profile["unlisted_scenes"] = unlisted
    rows = logs.table("logs").rows
    joined = join_features(log, history, day)
    write_table(joined, "training", lake.uri(f"{staging}/training"), rows)
    inputs = {f"logs/{day}": logs.build, **inputs}
    return Staged(rows_in=rows, inputs=inputs, profile=profile | {"newest": days_read(joined)})


def history_before(spark: SparkSession, lake: Lake, day: date) -> tuple[History, dict[str, str]]:
    """Return the history available when `day` began, empty on a lake's first day, and the builds it was read from."""
    purpose = f"training {day}"
    week = published_before(lake, day, window(previous(day)), purpose)
    if not week:
        tables = {table: few_rows(spark, table, []) for table in SNAPSHOTS}
        k = get_settings().ctr_smoothing
        scenes = [(scene, 0, 0, NEUTRAL_CTR, NEUTRAL_CTR, k, k) for scene in get_settings().scenes]
        tables["features_scene"] = few_rows(spark, "features_scene", scenes)
        pairs = {pair: _no_pairs(few_rows(spark, table, []), key) for pair, (table, key) in _PAIRS.items()}
        return History(tables, pairs), {}
    before = {table: week[-1].table(table) for table in SNAPSHOTS}
    tables = {
        table: read_week(spark, lake, week[-1], table)
        if TABLES[table].by_scene
        else read_uri(spark, table, lake.uri(version.path))
        for table, version in before.items()
    }
    tables["features_scene"] = every_scene(tables["features_scene"])
    pairs = {}
    for pair, (table, key) in _PAIRS.items():
        uris = [lake.uri(manifest.table(table).path) for manifest in week]
        pairs[pair] = _pairs_of_week(read_uri(spark, table, *uris), key)
    small = frozenset(table for table, version in before.items() if version.rows <= _ROWS_OF_A_SMALL_TABLE)
    return History(tables, pairs, small), {f"features/{manifest.day}": manifest.build for manifest in week}


def _pairs_of_week(days: DataFrame, key: str) -> DataFrame:
    """Return the counts of each pair over daily aggregates, and the last day it was seen, from its folder's name."""
    seen = F.to_date(F.regexp_extract(F.col("_metadata.file_path"), r"/dt=(\d{4}-\d{2}-\d{2})/", 1))
    pairs = days.withColumn("seen", seen).repartition(F.col("user_id")).groupBy("user_id", key)
    return pairs.agg(
        F.sum("impressions").alias("impressions_7d"),
        F.sum("clicks").alias("clicks_7d"),
        F.max("seen").alias("last_seen"),
    )


def _no_pairs(empty: DataFrame, key: str) -> DataFrame:
    counts = (F.col(count).alias(f"{count}_7d") for count in ("impressions", "clicks"))
    return empty.select("user_id", key, *counts, F.lit(None).cast("date").alias("last_seen"))


def join_features(log: DataFrame, history: History, day: date) -> DataFrame:
    """Return the log of `day` with the features of `history`, defaults where a key is missing."""
    joined = log.withColumn("topic_key", topic_key()).repartition(F.col("user_id")).alias("l")
    for grain in ("user", "item"):
        for kind in ("features", "totals"):
            table = f"{kind}_{grain}"
            frame = history.tables[table].alias(table)
            # Hashing the keys' side spares sorting the log's wide rows.
            keyed = F.broadcast(frame) if table in history.small else frame.hint("shuffle_hash")
            joined = joined.join(keyed, F.col(f"l.{grain}_id") == F.col(f"{table}.{grain}_id"), "left")
        if grain == "user":
            for pair, frame in history.pairs.items():
                keys = ("user_id", _PAIRS[pair][1])
                same = [F.col(f"l.{key}") == F.col(f"{pair}.{key}") for key in keys]
                joined = joined.join(frame.alias(pair).hint("shuffle_hash"), same, "left")
    scenes = F.broadcast(history.tables["features_scene"]).alias("features_scene")
    joined = joined.join(scenes, F.col("l.scene") == F.col("features_scene.scene"), "left")
    looked_up = joined.select(
        *(f"l.{name}" for name in ("event_id", "label", "scene", "user_id", "item_id", "log_ts", *DEEP_FEATURES)),
        F.when(F.col("l.item_title").isNotNull(), F.xxhash64("l.item_title")).alias("title_key"),
        *(
            F.transform(f"l.{source}_entities", lambda entity: F.xxhash64(entity)).alias(f"{source}_entity_keys")
            for source in ("item", "query", "service", "bill")
        ),
        *(F.expr(f"features_scene.{entity}_strength").alias(f"{entity}_strength") for entity in ("user", "item")),
        *(
            F.expr(_looked_up(feature, day)).cast(feature.type).alias(feature.name)
            for feature in FEATURES
            if feature.step == 0
        ),
    )
    # One step after the other: generated code for all of it in one would be too long for the JVM's compiler.
    rates = looked_up.withColumns({feature.name: F.expr(feature.sql) for feature in FEATURES if feature.step == 1})
    others = {feature.name: F.expr(feature.sql) for feature in FEATURES if feature.step == 2}
    return rates.withColumns(others | {f"{entity}_level": _level(entity) for entity in ("user", "item")})


def _looked_up(feature: Feature, day: date) -> str:
    """Return the SQL of a feature of step 0, with the declared default where its key is missing (never for the row's own)."""
    sql = feature.sql
    if "{scene}" in sql:
        cases = (
            f"WHEN {sql_text(scene)} THEN {sql.format(day=day, scene=n)}"
            for n, scene in enumerate(get_settings().scenes)
        )
        sql = f"CASE l.scene {' '.join(cases)} END"
    else:
        sql = sql.format(day=day)
    return sql if feature.default is None or feature.grain == "row" else f"coalesce({sql}, {feature.default:g})"


def _level(entity: str) -> Column:
    few = get_settings().user_few_impressions if entity == "user" else get_settings().item_few_impressions
    return F.expr(level_of(f"{entity}_impressions_total", few))


def main(first: FirstDay, last: LastDay, publish: Publish = False) -> None:
    """Stage and audit 'training' of each day."""
    run_job("training", build, first, last, publish=publish)


if __name__ == "__main__":
    exit_clearly(main)
