"""Daily aggregates and feature snapshots as of the end of a day, built from yesterday's snapshot plus today's log.

    spark-submit spark_jobs/features.py --from 2023-07-17 --to 2023-07-17

long-term(d) = long-term(d-1) + day(d); 7-day(d) = the sum of the aggregates of [d-6, d]. Counts are exact integers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from include.calendar import previous, window
from include.errors import MissingDataError
from include.features import NEUTRAL_CTR, level_of, smoothed_ctr
from include.lake import Lake, Manifest
from include.settings import settings
from spark_jobs.session import few_rows, read_table, read_uri, together, write_table
from spark_jobs.stage import Staged, exit_clearly, run_job

_COUNTS = ("impressions", "clicks")


@dataclass(frozen=True)
class Day:
    """A day's inputs: its log, its own aggregates as staged, and the published days before it."""

    spark: SparkSession
    lake: Lake
    day: date
    staging: str
    rows: int
    earlier: tuple[date, ...]
    before: date | None

    def staged(self, table: str) -> DataFrame:
        """A table of this day that was written to staging already."""
        return read_uri(self.spark, table, self.lake.uri(f"{self.staging}/{table}"))

    def published(self, table: str, *days: date) -> DataFrame:
        """A published table of earlier days, in one scan."""
        uris = [self.lake.table_uri(table, day, f"features {self.day}") for day in days]
        return read_uri(self.spark, table, *uris)

    def window(self, table: str, shape: Callable[[DataFrame, bool], DataFrame]) -> list[DataFrame]:
        """The aggregates of the seven days up to today, each part through `shape(frame, is_today)`."""
        past = [shape(self.published(table, *self.earlier), False)] if self.earlier else []
        return [*past, shape(self.staged(table), True)]

    def write(self, frame: DataFrame, table: str) -> None:
        """Writes a table to staging; a snapshot is at least as large as the one before."""
        rows = self.rows
        if table.startswith("features_") and self.before and (manifest := self.lake.manifest("features", self.before)):
            rows = manifest.tables[table].rows
        write_table(frame, table, self.lake.uri(f"{self.staging}/{table}"), rows)


def previous_snapshot(lake: Lake, day: date, needed_for: str) -> Manifest | None:
    """The published features of the day before; None only for the first day of the log.

    Raises `MissingDataError` where the log has earlier days, naming the gap or the features that are missing.
    """
    earlier = [known for known in lake.days("logs") if known < day]
    if not earlier:
        return None
    before = previous(day)
    if earlier[-1] != before:
        raise MissingDataError(
            f"{needed_for} needs the logs of {before}, which are missing: the last published day before {day} is {earlier[-1]}. "
            f"Ingest every day from {earlier[-1]} to {before}, then build their features in order "
            f"(`ctr history --from {earlier[-1]} --to {before}`)."
        )
    return lake.require("features", before, needed_for)


def build(spark: SparkSession, lake: Lake, day: date, staging: str) -> Staged:
    """Stages the nine tables of the stage."""
    purpose = f"features {day}"
    logs = lake.require("logs", day, purpose)
    before = previous_snapshot(lake, day, purpose)
    known = set(lake.days("features")) if before else set()
    first = lake.days("logs")[0]
    earlier = tuple(past for past in window(day)[:-1] if past >= first and before)
    inputs = {f"logs/{day}": logs.build}
    for past in earlier:
        if past not in known:
            lake.require("features", past, purpose)
        inputs[f"features/{past}"] = lake.require("features", past, purpose).build
    today = Day(spark, lake, day, staging, logs.tables["logs"].rows, earlier, previous(day) if before else None)
    log = read_table(spark, lake, "logs", day, purpose)
    _write_aggregates(today, log)
    prior = _write_scenes(today)
    together(
        lambda: today.write(_snapshot(today, "user", settings().user_few_impressions, prior), "features_user"),
        lambda: today.write(_snapshot(today, "item", settings().item_few_impressions, prior), "features_item"),
        lambda: today.write(_user_item(today), "features_user_item"),
        lambda: today.write(_items(today, log), "items"),
        lambda: today.write(_texts(log), "texts"),
    )
    return Staged(rows_in=today.rows, inputs=inputs)


def _write_aggregates(today: Day, log: DataFrame) -> None:
    pairs = log.groupBy("user_id", "item_id", "scene").agg(
        F.count(F.lit(1)).alias("impressions"), F.sum(F.col("label").cast("bigint")).alias("clicks")
    )
    today.write(pairs, "agg_user_item")
    together(
        lambda: today.write(_total(today.staged("agg_user_item"), "user_id", "scene"), "agg_user"),
        lambda: today.write(_total(today.staged("agg_user_item"), "item_id", "scene"), "agg_item"),
    )


def _total(frame: DataFrame, *keys: str) -> DataFrame:
    return frame.groupBy(*keys).agg(*(F.sum(count).alias(count) for count in _COUNTS))


def _union(frames: list[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)


def _write_scenes(today: Day) -> float:
    """Writes `features_scene`, a row for every scene of the settings, and returns the prior CTR of all scenes together."""
    week = _union(today.window("agg_item", lambda frame, _: frame.select("scene", *_COUNTS)))
    counts = {row["scene"]: (row["impressions"], row["clicks"]) for row in _total(week, "scene").collect()}
    k = settings().ctr_smoothing
    impressions, clicks = (sum(pair[n] for pair in counts.values()) for n in (0, 1))
    prior = (clicks + k * NEUTRAL_CTR) / (impressions + k)
    rows = []
    for scene in settings().scenes:
        shown, clicked = counts.get(scene, (0, 0))
        rows.append((scene, shown, clicked, (clicked + k * prior) / (shown + k), prior))
    today.write(few_rows(today.spark, "features_scene", rows), "features_scene")
    return prior


def _snapshot(today: Day, who: str, few: int, prior: float) -> DataFrame:
    """The user or item snapshot: yesterday's, moved on by one day, in one shuffle over the union of its parts."""
    key, never = f"{who}_id", F.lit(None).cast("date")

    def part(frame: DataFrame, is_today: bool) -> DataFrame:
        seen = F.lit(today.day) if is_today else never
        return frame.select(
            key,
            "scene",
            *(F.col(count).alias(f"{count}_7d") for count in _COUNTS),
            *((F.col(count) if is_today else F.lit(0).cast("bigint")).alias(f"{count}_total") for count in _COUNTS),
            seen.alias("first_seen"),
            seen.alias("last_seen"),
        )

    parts = today.window(f"agg_{who}", part)
    if today.before:
        zero = F.lit(0).cast("bigint")
        parts.append(
            today.published(f"features_{who}", today.before).select(
                key,
                F.lit(None).cast("string").alias("scene"),
                *(zero.alias(f"{count}_7d") for count in _COUNTS),
                *(f"{count}_total" for count in _COUNTS),
                "first_seen",
                "last_seen",
            )
        )
    pivot = [
        F.sum(F.when(F.col("scene") == scene, F.col(f"{count}_7d")).otherwise(0)).alias(f"{count}_7d_scene_{n}")
        for n, scene in enumerate(settings().scenes)
        for count in _COUNTS
    ]
    sums = [F.sum(f"{count}_{span}").alias(f"{count}_{span}") for span in ("7d", "total") for count in _COUNTS]
    whole = (
        _union(parts)
        .groupBy(key)
        .agg(*sums, F.min("first_seen").alias("first_seen"), F.max("last_seen").alias("last_seen"), *pivot)
    )
    rates = [
        F.expr(smoothed_ctr(f"clicks_{span}", f"impressions_{span}", f"{prior!r}D")).alias(f"ctr_{span}")
        for span in ("7d", "total")
    ]
    return whole.select("*", *rates, F.expr(level_of("impressions_total", few)).alias("level"))


def _user_item(today: Day) -> DataFrame:
    keys, never = ("user_id", "item_id"), F.lit(None).cast("date")

    def part(frame: DataFrame, is_today: bool) -> DataFrame:
        zero = F.lit(0).cast("bigint")
        return frame.select(
            *keys,
            *(F.col(count).alias(f"{count}_7d") for count in _COUNTS),
            *((F.col(count) if is_today else zero).alias(f"{count}_total") for count in _COUNTS),
            (F.lit(today.day) if is_today else never).alias("last_seen"),
        )

    parts = today.window("agg_user_item", part)
    if today.before:
        zero = F.lit(0).cast("bigint")
        parts.append(
            today.published("features_user_item", today.before).select(
                *keys,
                *(zero.alias(f"{count}_7d") for count in _COUNTS),
                *(f"{count}_total" for count in _COUNTS),
                "last_seen",
            )
        )
    sums = [F.sum(f"{count}_{span}").alias(f"{count}_{span}") for span in ("7d", "total") for count in _COUNTS]
    return _union(parts).groupBy(*keys).agg(*sums, F.max("last_seen").alias("last_seen"))


def _items(today: Day, log: DataFrame) -> DataFrame:
    """Latest title and entities that are not empty (ties: the largest event id), first and last day of each item."""
    latest = F.struct("log_ts", "event_id")
    parts = [
        log.select(
            "item_id",
            "item_title",
            "item_entities",
            latest.alias("at"),
            F.lit(today.day).alias("first_seen"),
            F.lit(today.day).alias("last_seen"),
        )
    ]
    if today.before:
        at = F.struct(F.lit(None).cast("timestamp").alias("log_ts"), F.lit(None).cast("string").alias("event_id"))
        columns = ("item_id", "item_title", "item_entities", at.alias("at"), "first_seen", "last_seen")
        parts.append(today.published("items", today.before).select(*columns))
    title = F.when(F.col("item_title").isNotNull(), F.col("at"))
    entities = F.when(F.size("item_entities") > 0, F.col("at"))
    return (
        _union(parts)
        .groupBy("item_id")
        .agg(
            F.max_by("item_title", title).alias("item_title"),
            F.coalesce(F.max_by("item_entities", entities), F.array().cast("array<string>")).alias("item_entities"),
            F.min("first_seen").alias("first_seen"),
            F.max("last_seen").alias("last_seen"),
        )
    )


def _texts(log: DataFrame) -> DataFrame:
    """Distinct titles and entities of the day, with the key under which their vectors are cached."""
    entities = F.concat("item_entities", "query_entities", "service_entities", "bill_entities")
    texts = log.select(F.col("item_title").alias("text"), F.lit("title").alias("kind")).unionByName(
        log.select(F.explode(F.array_distinct(entities)).alias("text"), F.lit("entity").alias("kind"))
    )
    return texts.where("text IS NOT NULL").distinct().select(F.xxhash64("text").alias("text_key"), "text", "kind")


def main(argv: list[str] | None = None) -> None:
    """Command line: see `spark_jobs.stage.run_job`."""
    run_job("features", build, argv)


if __name__ == "__main__":
    exit_clearly(main)
