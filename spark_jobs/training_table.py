"""Training rows of a day: its log joined to the snapshot of the day before, one row for each impression.

    spark-submit spark_jobs/training_table.py --from 2023-07-17 --to 2023-07-17

Nothing of the day itself is read but the impressions: no feature can know a click of its own day.
"""

from datetime import date

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from include.calendar import previous
from include.features import FEATURES, NEUTRAL_CTR, Feature, smoothed_ctr
from include.lake import Lake
from include.schemas import DEEP_FEATURES
from include.settings import settings
from spark_jobs.features import previous_snapshot
from spark_jobs.session import few_rows, read_table, read_uri, write_table
from spark_jobs.stage import Staged, exit_clearly, run_job

_SNAPSHOTS = {
    "features_user": ("u", ["user_id"]),
    "features_item": ("i", ["item_id"]),
    "features_user_item": ("x", ["user_id", "item_id"]),
}
_ALIAS = {"user": "u", "item": "i", "user_item": "x", "scene": "s"}


def build(spark: SparkSession, lake: Lake, day: date, staging: str) -> Staged:
    """Stages `training`; raises `MissingDataError` where the logs of the day or the features of the day before are missing."""
    purpose = f"training {day}"
    logs = lake.require("logs", day, purpose)
    before = previous_snapshot(lake, day, purpose)
    inputs = {f"logs/{day}": logs.build}
    snapshots = {}
    for table in (*_SNAPSHOTS, "features_scene"):
        if before:
            snapshots[table] = read_uri(spark, table, lake.uri(before.tables[table].path))
        else:
            snapshots[table] = few_rows(spark, table, [])
    if before:
        inputs[f"features/{previous(day)}"] = before.build
    else:
        scenes = [(scene, 0, 0, NEUTRAL_CTR, NEUTRAL_CTR) for scene in settings().scenes]
        snapshots["features_scene"] = few_rows(spark, "features_scene", scenes)
    log = read_table(spark, lake, "logs", day, purpose)
    rows = logs.tables["logs"].rows
    write_table(join_features(log, snapshots, day), "training", lake.uri(f"{staging}/training"), rows)
    return Staged(rows_in=rows, inputs=inputs)


def join_features(log: DataFrame, snapshots: dict[str, DataFrame], day: date) -> DataFrame:
    """The log of `day` with the features of the snapshots (as of the day before), defaults where a key is not in them."""
    joined = log.alias("l")
    for table, (alias, keys) in _SNAPSHOTS.items():
        same = [F.col(f"l.{key}") == F.col(f"{alias}.{key}") for key in keys]
        joined = joined.join(snapshots[table].alias(alias), same, "left")
    joined = joined.join(
        F.broadcast(snapshots["features_scene"]).alias("s"), F.col("l.scene") == F.col("s.scene"), "left"
    )
    return joined.select(
        *(f"l.{name}" for name in ("event_id", "label", "scene", "user_id", "item_id", "log_ts")),
        *(
            F.coalesce(F.col(f"{alias}.level"), F.lit("zero")).alias(f"{who}_level")
            for who, alias in (("user", "u"), ("item", "i"))
        ),
        *(_value(feature, day).alias(feature.name) for feature in FEATURES),
        *(f"l.{name}" for name in DEEP_FEATURES),
        F.when(F.col("l.item_title").isNotNull(), F.xxhash64("l.item_title")).alias("title_key"),
        *(
            F.transform(f"l.{what}_entities", lambda entity: F.xxhash64(entity)).alias(f"{what}_entity_keys")
            for what in ("item", "query", "service", "bill")
        ),
    )


def _value(feature: Feature, day: date) -> Column:
    """A declared feature as an expression over the joined row, of the declared type."""
    if feature.grain == "row":
        own = {"hour_of_day": F.hour("l.log_ts"), "day_of_week": F.weekday("l.log_ts") + 1}
        return own[feature.name].cast(feature.type)
    column = feature.name.removeprefix(f"{feature.grain}_")
    found = _found(feature, _ALIAS[feature.grain], column, day)
    default = F.col("s.ctr_7d") if feature.default is None else F.lit(feature.default)
    return F.coalesce(found, default).cast(feature.type)


def _found(feature: Feature, alias: str, column: str, day: date) -> Column:
    """The feature's value in the snapshot of its grain; null where the key is not there."""
    if column == "days_since_seen":
        return F.datediff(F.lit(day), f"{alias}.last_seen")
    if column == "age_days":
        return F.datediff(F.lit(day), f"{alias}.first_seen")
    if feature.grain == "scene" or not column.startswith("scene_"):
        return F.col(f"{alias}.{column}")
    if column == "scene_ctr_7d":
        return F.expr(smoothed_ctr(_own_scene(alias, "clicks"), _own_scene(alias, "impressions"), "s.ctr_7d"))
    return F.expr(_own_scene(alias, column.removeprefix("scene_").removesuffix("_7d")))


def _own_scene(alias: str, count: str) -> str:
    """SQL that picks the row's own scene from the pivot of a snapshot."""
    cases = " ".join(f"WHEN '{scene}' THEN {alias}.{count}_7d_scene_{n}" for n, scene in enumerate(settings().scenes))
    return f"CASE l.scene {cases} END"


def main(argv: list[str] | None = None) -> None:
    """Command line: see `spark_jobs.stage.run_job`."""
    run_job("training", build, argv)


if __name__ == "__main__":
    exit_clearly(main)
