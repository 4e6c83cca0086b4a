"""Counts of a day, of seven days and so far, from yesterday's tables plus today's log.

    spark-submit spark_jobs/features.py --from 2023-07-17 --to 2023-07-17

so far(d) = so far(d-1) + day(d); 7 days(d) = 7 days(d-1) + day(d) - day(d-7). Tables hold exact integers; rates are computed
where training rows are joined. Pairs of user and item or topic have no table beyond their day: training rows look them up in
the aggregates of seven days, so that a pair seen once costs nothing from the eighth day on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial, reduce
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from include.calendar import WINDOW_DAYS, previous, window
from include.errors import MissingDataError
from include.features import NEUTRAL_CTR, prior_strength
from include.lake.lake import Lake
from include.lake.manifest import Manifest
from include.settings import get_settings
from include.stages import scene_columns
from spark_jobs.columns import topic_key
from spark_jobs.scenes import scenes_of
from spark_jobs.session import few_rows, read_uri, together, write_table
from spark_jobs.stage import FirstDay, LastDay, Publish, Staged, exit_clearly, run_job

_COUNTS = ("impressions", "clicks")


@dataclass(frozen=True)
class Day:
    """A day's inputs: its log, its own aggregates as staged, and the published days before it."""

    spark: SparkSession
    lake: Lake
    day: date
    staging: str
    rows: int
    before: Manifest | None
    leaving: Manifest | None
    week: tuple[Manifest, ...] = ()
    """The days before in the window, where the scenes of the settings have changed since the day before."""

    def staged(self, table: str) -> DataFrame:
        """Return a table of this day that is already in staging."""
        return read_uri(self.spark, table, self.lake.uri(f"{self.staging}/{table}"))

    def yesterday(self, table: str) -> DataFrame | None:
        """Return a table as of the end of the day before; None where it is not published."""
        return self._published(table, self.before)

    def a_week_ago(self, table: str) -> DataFrame | None:
        """Return the aggregates of the day that leaves today's window; None where it is not published."""
        return self._published(table, self.leaving)

    def of_week(self, table: str) -> list[DataFrame]:
        """Return the aggregates of each day of `week`."""
        return [read_uri(self.spark, table, self.lake.uri(manifest.table(table).path)) for manifest in self.week]

    def _published(self, table: str, manifest: Manifest | None) -> DataFrame | None:
        return read_uri(self.spark, table, self.lake.uri(manifest.table(table).path)) if manifest else None

    def write(self, frame: DataFrame, table: str) -> None:
        """Write a table to staging; a table of counts so far is at least about as large as the one before."""
        before = self.before.table(table).rows if self.before and not table.startswith("agg_") else 0
        write_table(frame, table, self.lake.uri(f"{self.staging}/{table}"), max(self.rows, before))


def published_before(lake: Lake, day: date, days: Sequence[date], needed_for: str) -> tuple[Manifest, ...]:
    """Return the published features of those `days` before `day` that the log has, in their order.

    Empty only for the first day of the log. Raises `MissingDataError` naming the gap, or the features that are missing.
    """
    earlier = [log_day for log_day in lake.days("logs") if log_day < day]
    if not earlier:
        return ()
    before = previous(day)
    if earlier[-1] != before:
        raise MissingDataError(
            f"{needed_for} needs the logs of {before}, which are missing: the last published day before {day} is {earlier[-1]}. "
            f"Ingest every day from {earlier[-1]} to {before}, then build their features in order "
            f"(`ctr history --from {earlier[-1]} --to {before}`). A day that never had a log is named in CTR_EMPTY_DAYS first."
        )
    return tuple(lake.require("features", past, needed_for) for past in days if past >= earlier[0])


def build(spark: SparkSession, lake: Lake, day: date, staging: str) -> Staged:
    """Stage the feature tables of a day; raises `MissingDataError` where its logs or earlier features are missing."""
    purpose = f"features {day}"
    logs = lake.require("logs", day, purpose)
    leaving = day - timedelta(days=WINDOW_DAYS)
    before = previous(day)
    past = {manifest.day: manifest for manifest in published_before(lake, day, (leaving, before), purpose)}
    week: tuple[Manifest, ...] = ()
    if str(before) in past and scenes_of(past[str(before)]) != get_settings().scenes:
        week = published_before(lake, day, window(day)[:-1], purpose)
        past |= {manifest.day: manifest for manifest in week}
    inputs = {f"logs/{day}": logs.build} | {f"features/{past_day}": past[past_day].build for past_day in past}
    rows = logs.table("logs").rows
    today = Day(spark, lake, day, staging, rows, past.get(str(before)), past.get(str(leaving)), week)
    log = read_uri(spark, "logs", lake.uri(logs.table("logs").path))
    together(lambda: _write_pairs(today, log), lambda: today.write(_topics(log), "agg_user_topic"))
    together(*(partial(_write_counts, today, entity) for entity in ("user", "item")))
    together(
        lambda: _write_scenes(today),
        lambda: today.write(_items(today, log), "items"),
        lambda: today.write(_texts(log), "texts"),
    )
    return Staged(rows_in=today.rows, inputs=inputs)


def counted(frame: DataFrame, *keys: str) -> DataFrame:
    """Return aggregates summed by `keys`."""
    return frame.groupBy(*keys).agg(*(F.sum(count).alias(count) for count in _COUNTS))


def _of_log(log: DataFrame, *keys: str) -> DataFrame:
    return log.groupBy(*keys).agg(
        F.count(F.lit(1)).alias("impressions"), F.sum(F.col("label").cast("bigint")).alias("clicks")
    )


def _write_pairs(today: Day, log: DataFrame) -> None:
    today.write(_of_log(log, "user_id", "item_id", "scene"), "agg_user_item")
    for entity in ("user", "item"):
        today.write(counted(today.staged("agg_user_item"), f"{entity}_id", "scene"), f"agg_{entity}")


def _topics(log: DataFrame) -> DataFrame:
    topics = log.select("user_id", topic_key().alias("topic_key"), "label").where("topic_key IS NOT NULL")
    return _of_log(topics, "user_id", "topic_key")


def _write_counts(today: Day, entity: str) -> None:
    today.write(_week(today, entity), f"features_{entity}")
    today.write(_totals(today, entity), f"totals_{entity}")


def _week(today: Day, entity: str) -> DataFrame:
    """Return seven-day counts of each key, in all and by scene: yesterday's, with today and without the day a week ago.

    Yesterday's are by other scenes where the settings have changed; then all days of the window are summed.
    """
    key = f"{entity}_id"
    aggregates = f"agg_{entity}"
    parts = [_pivoted(frame, key, 1) for frame in (today.staged(aggregates), *today.of_week(aggregates))]
    if not today.week and (before := today.yesterday(f"features_{entity}")) is not None:
        parts.append(before)
    if not today.week and (leaving := today.a_week_ago(aggregates)) is not None:
        parts.append(_pivoted(leaving, key, -1))
    counts = [name for name in parts[0].columns if name != key]
    sums = (F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in counts)
    return _union(parts).groupBy(key).agg(*sums).where("impressions_7d > 0")


def _pivoted(aggregates: DataFrame, key: str, sign: int) -> DataFrame:
    """Return counts of a day, by key and scene, as columns of the week's table; `sign` -1 subtracts them."""
    columns = [(F.col(count) * sign).alias(f"{count}_7d") for count in _COUNTS]
    for n, scene in enumerate(get_settings().scenes):
        columns += [
            F.when(F.col("scene") == scene, F.col(count) * sign).otherwise(0).alias(f"{count}_7d_scene_{n}")
            for count in _COUNTS
        ]
    return aggregates.select(key, *columns)


def _totals(today: Day, entity: str) -> DataFrame:
    """Return counts so far: yesterday's plus today's; a key unseen for the retention is dropped, and new if it returns."""
    key = f"{entity}_id"
    now = F.lit(today.day)
    parts = [
        today.staged(f"agg_{entity}").select(
            key,
            *(F.col(count).alias(f"{count}_total") for count in _COUNTS),
            now.alias("first_seen"),
            now.alias("last_seen"),
            F.when(F.col("clicks") > 0, now).alias("last_clicked"),
        )
    ]
    if (before := today.yesterday(f"totals_{entity}")) is not None:
        parts.append(before)
    totals = _union(parts).groupBy(key)
    return totals.agg(
        *(F.sum(f"{count}_total").alias(f"{count}_total") for count in _COUNTS),
        F.min("first_seen").alias("first_seen"),
        F.max("last_seen").alias("last_seen"),
        F.max("last_clicked").alias("last_clicked"),
    ).where(_within_retention(today))


def _within_retention(today: Day) -> Column:
    return F.col("last_seen") > F.lit(today.day - timedelta(days=get_settings().retention_days))


def _union(frames: list[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)


def _write_scenes(today: Day) -> None:
    """Write `features_scene`: the seven-day CTR of each scene, and its strength as a prior of users and of items."""
    sums = {entity: _scene_sums(today.staged(f"features_{entity}")) for entity in ("user", "item")}
    k = get_settings().ctr_smoothing
    rows = []
    impressions, clicks = (sum(scene[count] for scene in sums["item"]) for count in _COUNTS)
    prior = (clicks + k * NEUTRAL_CTR) / (impressions + k)
    for n, scene in enumerate(get_settings().scenes):
        impressions, clicks = (sums["item"][n][count] for count in _COUNTS)
        strengths = (
            prior_strength(**sums[entity][n], too_few=get_settings().ctr_smoothing) for entity in ("user", "item")
        )
        rows.append((scene, impressions, clicks, (clicks + k * prior) / (impressions + k), prior, *strengths))
    today.write(few_rows(today.spark, "features_scene", rows), "features_scene")


def _scene_sums(week: DataFrame) -> list[dict[str, Any]]:
    """Return the arguments of `prior_strength` for each scene of the settings."""
    columns = scene_columns(get_settings().scenes)
    # A row for each scene: as many sums side by side as there are scenes would be too much code for the JVM's compiler.
    scenes = [
        F.struct(F.lit(n).alias("scene"), F.col(impressions).alias("impressions"), F.col(clicks).alias("clicks"))
        for n, (impressions, clicks) in enumerate(zip(columns[0::2], columns[1::2], strict=True))
    ]
    squared = {name: F.col(name).cast("double") * F.col(name) for name in _COUNTS}
    sums = {
        "keys": F.count(F.lit(1)),
        "impressions": F.sum("impressions"),
        "clicks": F.sum("clicks"),
        "squares": F.sum(squared["impressions"]),
        "shares": F.sum(squared["clicks"] / F.col("impressions")),
    }
    by_scene = week.select(F.inline(F.array(*scenes))).where("impressions > 0").groupBy("scene")
    found = {row["scene"]: row for row in by_scene.agg(*(value.alias(name) for name, value in sums.items())).collect()}
    return [{name: found[n][name] if n in found else 0 for name in sums} for n in range(len(scenes))]


def _items(today: Day, log: DataFrame) -> DataFrame:
    """Title and entities that stand for each item where an impression has none, and its first and last day.

    Each is the latest that is not empty: the title of the last impression, the entities of most impressions of the last day, as
    they may differ between impressions of an item (ties: the largest text).
    """
    now = F.lit(today.day)
    # Texts of an item hardly change within a day: few rows are left for the costly choice.
    texts = log.groupBy("item_id", "item_title", "item_entities").agg(
        F.max("log_ts").alias("at"), F.count(F.lit(1)).alias("rows")
    )
    title = F.when(F.col("item_title").isNotNull(), F.struct("at", "item_title"))
    entities = F.when(F.size("item_entities") > 0, F.struct("rows", "item_entities")).alias("entities")
    of_day = texts.groupBy("item_id", "item_entities").agg(F.sum("rows").alias("rows"), F.max(title).alias("title"))
    parts = [of_day.select("item_id", "title", entities, now.alias("first_seen"), now.alias("last_seen"))]
    if (before := today.yesterday("items")) is not None:
        earlier = before.withColumns({"at": F.lit(None).cast("timestamp"), "rows": F.lit(0).cast("bigint")})
        parts.append(earlier.select("item_id", title.alias("title"), entities, "first_seen", "last_seen"))
    return (
        _union(parts)
        .groupBy("item_id")
        .agg(
            F.max("title")["item_title"].alias("item_title"),
            F.coalesce(F.max("entities")["item_entities"], F.array().cast("array<string>")).alias("item_entities"),
            F.min("first_seen").alias("first_seen"),
            F.max("last_seen").alias("last_seen"),
        )
        .where(_within_retention(today))
    )


def _texts(log: DataFrame) -> DataFrame:
    """Distinct titles and entities of the day, with the key under which their vectors are cached."""
    parts = [log.select(F.col("item_title").alias("text"), F.lit("title").alias("kind"))]
    for column in ("item_entities", "query_entities", "service_entities", "bill_entities"):
        # Whole sequences repeat: distinct ones first, so that far fewer are exploded.
        distinct = log.select(column).distinct()
        parts.append(distinct.select(F.explode(column).alias("text"), F.lit("entity").alias("kind")))
    texts = _union(parts).where("text IS NOT NULL").distinct()
    return texts.select(F.xxhash64("text").alias("text_key"), "text", "kind")


def main(first: FirstDay, last: LastDay, publish: Publish = False) -> None:
    """Stage and audit 'features' of each day."""
    run_job("features", build, first, last, publish=publish)


if __name__ == "__main__":
    exit_clearly(main)
