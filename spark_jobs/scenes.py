"""Earlier days by the scenes of the settings now, which may be others than when the days were made.

A scene that was added since counts from its first log on. The rows of one that was removed since stay in the logs and in the
counts of all scenes, for as long as these reach back; they have no column of their own, and are no training rows.
"""

from datetime import date
from pathlib import PurePosixPath
from urllib.parse import unquote

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from include.calendar import window
from include.lake.lake import Lake
from include.lake.manifest import Manifest
from include.lake.table_ddl import table_ddl
from include.settings import get_settings
from include.stages import scene_columns
from spark_jobs.session import few_rows


def scenes_of(features: Manifest) -> tuple[str, ...]:
    """Return the scenes by which a day's features were made; those of the settings where an early manifest does not say."""
    now = get_settings().scenes
    return now if isinstance(features.settings, str) else tuple(features.settings.get("scenes", now))


def rows_by_unlisted_scene(lake: Lake, logs: Manifest) -> dict[str, int]:
    """Return the rows of each scene of a day's published log that the settings do not list, from the files of its folder."""
    path = logs.table("logs").path
    folders = sorted(PurePosixPath(folder).name for folder in lake.fs.ls(lake.path(path), detail=False))
    scenes = {unquote(folder.removeprefix("scene=")): folder for folder in folders}
    listed = get_settings().scenes
    return {scene: lake.orc_rows(f"{path}/{folder}") for scene, folder in scenes.items() if scene not in listed}


def unlisted_scenes(lake: Lake, day: date) -> tuple[str, ...]:
    """Return the scenes of the seven days up to `day`, or of the settings that made their features, that are no longer listed."""
    scenes: set[str] = set()
    for past in window(day):
        if logs := lake.manifest("logs", past):
            scenes |= rows_by_unlisted_scene(lake, logs).keys()
        if features := lake.manifest("features", past):
            scenes |= {*scenes_of(features)} - {*get_settings().scenes}
    return tuple(sorted(scenes))


def read_week(spark: SparkSession, lake: Lake, features: Manifest, table: str) -> DataFrame:
    """Read `features_user` or `features_item` of a published day; a scene that was not there then has nulls."""
    then = scenes_of(features)
    now = get_settings().scenes
    frame = spark.read.schema(table_ddl(table, then)).orc(lake.uri(features.table(table).path))
    if then == now:
        return frame
    place = {scene: 2 * n for n, scene in enumerate(then)}
    old = scene_columns(then)
    counts = []
    for n, name in enumerate(scene_columns(now)):
        scene = now[n // 2]
        count = F.col(old[place[scene] + n % 2]) if scene in place else F.lit(None).cast("bigint")
        counts.append(count.alias(name))
    return frame.select(*(name for name in frame.columns if name not in old), *counts)


def every_scene(priors: DataFrame) -> DataFrame:
    """Return `features_scene` with a row for each scene added to the settings since: its prior is the CTR of all scenes."""
    rows = {row["scene"]: row for row in priors.collect()}
    k = get_settings().ctr_smoothing
    new = [scene for scene in get_settings().scenes if scene not in rows]
    if not new:
        return priors
    prior = next(iter(rows.values()))["prior_ctr"]
    added = few_rows(priors.sparkSession, "features_scene", [(scene, 0, 0, prior, prior, k, k) for scene in new])
    return priors.unionByName(added)
