"""Training rows of a day: its log joined to what was known when the day began, one row for each impression.

    spark-submit spark_jobs/training_table.py --from 2023-07-17 --to 2023-07-17

Nothing of the day itself is read but the impressions: no feature can know a click of its own day.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from include.calendar import previous, window
from include.features import FEATURES, NEUTRAL_CTR, Feature, level_of, smoothed_ctr
from include.lake import Lake
from include.schemas import DEEP_FEATURES
from include.settings import settings
from spark_jobs.features import previous_snapshot, topic_key
from spark_jobs.session import days_read, few_rows, read_table, read_uri, write_table
from spark_jobs.stage import Staged, exit_clearly, run_job

_SNAPSHOTS = ("features_user", "features_item", "totals_user", "totals_item", "features_scene")
_PAIRS = {"user_item": ("agg_user_item", "item_id"), "user_topic": ("agg_user_topic", "topic_key")}
_ROWS_OF_A_SMALL_TABLE = 200_000


@dataclass(frozen=True)
class Known:
    """What was known when a day began: the snapshots of the day before, and the pairs of the seven days before.

    `tables` holds `features_…` and `totals_…` by name, `pairs` the counts by `user_id` and `item_id` or `topic_key`;
    `small` names the tables that fit into every executor.
    """

    tables: dict[str, DataFrame]
    pairs: dict[str, DataFrame]
    small: frozenset[str] = frozenset()


def build(spark: SparkSession, lake: Lake, day: date, staging: str) -> Staged:
    """Stages `training`; raises `MissingDataError` where the logs of the day or the features of days before are missing."""
    purpose = f"training {day}"
    logs = lake.require("logs", day, purpose)
    known, inputs = known_before(spark, lake, day)
    log = read_table(spark, lake, "logs", day, purpose)
    rows = logs.tables["logs"].rows
    joined = join_features(log, known, day)
    write_table(joined, "training", lake.uri(f"{staging}/training"), rows)
    inputs = {f"logs/{day}": logs.build, **inputs}
    return Staged(rows_in=rows, inputs=inputs, profile={"newest": days_read(joined)})


def known_before(spark: SparkSession, lake: Lake, day: date) -> tuple[Known, dict[str, str]]:
    """What was known when `day` began, and the builds it was read from; on a lake's first day, nothing."""
    purpose = f"training {day}"
    before = previous_snapshot(lake, day, purpose)
    if before is None:
        tables = {table: few_rows(spark, table, []) for table in _SNAPSHOTS}
        k = settings().ctr_smoothing
        scenes = [(scene, 0, 0, NEUTRAL_CTR, NEUTRAL_CTR, k, k) for scene in settings().scenes]
        tables["features_scene"] = few_rows(spark, "features_scene", scenes)
        pairs = {pair: _no_pairs(few_rows(spark, table, []), key) for pair, (table, key) in _PAIRS.items()}
        return Known(tables, pairs), {}
    first = lake.days("logs")[0]
    week = {past: lake.require("features", past, purpose) for past in window(previous(day)) if past >= first}
    tables = {table: read_uri(spark, table, lake.uri(before.tables[table].path)) for table in _SNAPSHOTS}
    pairs = {}
    for pair, (table, key) in _PAIRS.items():
        uris = [lake.uri(manifest.tables[table].path) for manifest in week.values()]
        pairs[pair] = _pairs_of_week(read_uri(spark, table, *uris), key)
    small = frozenset(table for table in _SNAPSHOTS if before.tables[table].rows <= _ROWS_OF_A_SMALL_TABLE)
    return Known(tables, pairs, small), {f"features/{past}": manifest.build for past, manifest in week.items()}


def _pairs_of_week(days: DataFrame, key: str) -> DataFrame:
    """Counts of each pair over daily aggregates, and the last day that it was seen, which the name of its folder tells."""
    seen = F.to_date(F.regexp_extract(F.col("_metadata.file_path"), r"/dt=(\d{4}-\d{2}-\d{2})/", 1))
    pairs = days.withColumn("seen", seen).repartition(F.col("user_id")).groupBy("user_id", key)
    return pairs.agg(
        F.sum("impressions").alias("impressions_7d"),
        F.sum("clicks").alias("clicks_7d"),
        F.max("seen").alias("last_seen"),
    )


def _no_pairs(none: DataFrame, key: str) -> DataFrame:
    counts = (F.col(count).alias(f"{count}_7d") for count in ("impressions", "clicks"))
    return none.select("user_id", key, *counts, F.lit(None).cast("date").alias("last_seen"))


def join_features(log: DataFrame, known: Known, day: date) -> DataFrame:
    """The log of `day` with the features of what was known before, defaults where a key is not there."""
    joined = log.withColumn("topic_key", topic_key()).repartition(F.col("user_id")).alias("l")
    for grain in ("user", "item"):
        for kind in ("features", "totals"):
            table = f"{kind}_{grain}"
            frame = known.tables[table].alias(table)
            small = F.broadcast(frame) if table in known.small else frame
            joined = joined.join(small, F.col(f"l.{grain}_id") == F.col(f"{table}.{grain}_id"), "left")
        if grain == "user":
            for pair, frame in known.pairs.items():
                keys = ("user_id", _PAIRS[pair][1])
                same = [F.col(f"l.{key}") == F.col(f"{pair}.{key}") for key in keys]
                joined = joined.join(frame.alias(pair), same, "left")
    scenes = F.broadcast(known.tables["features_scene"]).alias("features_scene")
    joined = joined.join(scenes, F.col("l.scene") == F.col("features_scene.scene"), "left")
    return joined.select(
        *(f"l.{name}" for name in ("event_id", "label", "scene", "user_id", "item_id", "log_ts")),
        *(_level(who).alias(f"{who}_level") for who in ("user", "item")),
        *(_value(feature, day).alias(feature.name) for feature in FEATURES),
        *(f"l.{name}" for name in DEEP_FEATURES),
        F.when(F.col("l.item_title").isNotNull(), F.xxhash64("l.item_title")).alias("title_key"),
        *(
            F.transform(f"l.{what}_entities", lambda entity: F.xxhash64(entity)).alias(f"{what}_entity_keys")
            for what in ("item", "query", "service", "bill")
        ),
    )


def _level(who: str) -> Column:
    few = settings().user_few_impressions if who == "user" else settings().item_few_impressions
    return F.expr(level_of(_count(who, "impressions_total"), few))


def _value(feature: Feature, day: date) -> Column:
    """A declared feature as an expression over the joined row, of the declared type."""
    return F.expr(_sql(feature, day)).cast(feature.type)


def _sql(feature: Feature, day: date) -> str:
    grain, column = feature.grain, feature.name.removeprefix(f"{feature.grain}_")
    if grain == "row":
        return {
            "hour_of_day": "hour(l.log_ts)",
            "day_of_week": "weekday(l.log_ts) + 1",
            "scene_position": _by_scene(str(n) for n in range(len(settings().scenes))),
        }[column]
    if grain == "scene":
        return "features_scene.ctr_7d"
    if column in _DATES:
        source = f"totals_{grain}" if grain in ("user", "item") else grain
        return f"coalesce(datediff(DATE'{day}', {source}.{_DATES[column]}), {feature.default:g})"
    if column == "ctr_trend":
        return f"ln({_odds(_rate(grain, 'ctr_7d'))} / {_odds(_rate(grain, 'ctr_total'))})"
    if column == "recent_share":
        shown, total = _count(grain, "impressions_7d"), _count(grain, "impressions_total")
        return f"coalesce(try_divide(double({shown}), {total}), 0)"
    return _rate(grain, column) if feature.unit == "rate" else _count(grain, column)


_DATES = {"days_since_seen": "last_seen", "days_since_click": "last_clicked", "age_days": "first_seen"}


def _count(grain: str, column: str) -> str:
    """SQL of a count of a key, 0 where the key is not there; `scene_…` is the count in the row's own scene."""
    if column.startswith("scene_"):
        name = column.removeprefix("scene_")
        found = _by_scene(f"features_{grain}.{name}_scene_{n}" for n in range(len(settings().scenes)))
    elif grain in ("user", "item"):
        found = f"{'features' if column.endswith('_7d') else 'totals'}_{grain}.{column}"
    else:
        found = f"{grain}.{column}"
    return f"coalesce({found}, 0)"


def _rate(grain: str, column: str) -> str:
    """SQL of a CTR of a key, smoothed towards the CTR of the row's scene."""
    clicks, shown = (_count(grain, column.replace("ctr", what)) for what in ("clicks", "impressions"))
    strength = "features_scene.item_strength" if grain == "item" else "features_scene.user_strength"
    return smoothed_ctr(clicks, shown, "features_scene.ctr_7d", strength)


def _odds(rate: str) -> str:
    return f"(({rate}) / (1 - ({rate})))"


def _by_scene(values: Iterable[str]) -> str:
    """SQL that picks the value of the row's own scene, of one for each scene of the settings."""
    cases = " ".join(f"WHEN '{scene}' THEN {value}" for scene, value in zip(settings().scenes, values, strict=True))
    return f"CASE l.scene {cases} END"


def main(argv: list[str] | None = None) -> None:
    """Command line: see `spark_jobs.stage.run_job`."""
    run_job("training", build, argv)


if __name__ == "__main__":
    exit_clearly(main)
