"""What each stage's audit compares across tables and days, and the profile that its manifest gets."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import reduce
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from include.calendar import parse_day, previous, window
from include.checks import Check, check_result
from include.lake.lake import Lake
from include.lake.manifest import Manifest
from include.lake.row_sketch import LG_SIZE, PARTS, logged_columns, write_sketch
from include.quality.suites import LEAK_SAMPLE_ROWS, RECOMPUTED_KEYS
from include.raw.row_rules import LATE, UNKNOWN_SCENE
from include.settings import get_settings
from include.stages import SPECS, TABLES, Stage
from spark_jobs.audit import checks
from spark_jobs.audit.file_checks import file_checks
from spark_jobs.audit.leakage import SUSPECTS, TEXTS, Aucs, Past, column_aucs, leak_checks, recomputed
from spark_jobs.audit.log_checks import log_checks
from spark_jobs.audit.scene_checks import known_scenes
from spark_jobs.session import read_uri

StageAudit = Callable[[Lake, Manifest, dict[str, DataFrame]], tuple[dict[str, Any], list[Check]]]
"""From the lake, the manifest and the staged tables to the profile and the check records."""

_IMPRESSION_COLUMNS = {"agg": "impressions", "features": "impressions_7d", "totals": "impressions_total", "items": None}
"""Column of impressions, by the first word of a table's name."""


def audit_stage(lake: Lake, manifest: Manifest, staged: dict[str, DataFrame]) -> tuple[dict[str, Any], list[Check]]:
    """Return the profile of a staged day, and the records of the checks across its tables and days."""
    audits: dict[Stage, StageAudit] = {"logs": _audit_logs, "features": _audit_features, "training": _audit_training}
    return audits[manifest.stage](lake, manifest, staged)


def _audit_logs(lake: Lake, manifest: Manifest, staged: dict[str, DataFrame]) -> tuple[dict[str, Any], list[Check]]:
    day = parse_day(manifest.day)
    rows = {name: table.rows for name, table in manifest.tables.items()}
    per_scene = [
        part
        for scene in get_settings().scenes
        for part in (
            F.count_if(F.col("scene") == scene).alias(f"rows {scene}"),
            F.coalesce(F.sum(F.when(F.col("scene") == scene, F.col("label").cast("bigint"))), F.lit(0)).alias(
                f"clicks {scene}"
            ),
        )
    ]
    files = [file["file"] for file in manifest.profile.get("files", [])]
    own = F.count_if(F.regexp_replace("event_id", r"#\d+$", "").isin(files) if files else F.lit(False)).alias("own")
    sums = _first(staged["logs"].agg(_distinct("event_id").alias("distinct"), own, *per_scene))
    late, late_checks = _late(staged["late"], day) if rows["late"] else ({}, [])
    reasons = _reasons(staged["quarantine"]) if rows["quarantine"] else {}
    late_days = {late for file in manifest.profile.get("files", []) for late in file.get("late_days", [])}
    scenes = {
        scene: {"rows": sums[f"rows {scene}"], "clicks": sums[f"clicks {scene}"]} for scene in get_settings().scenes
    }
    past = checks.trailing(lake, day)
    contents, of_contents = log_checks(staged["logs"], rows["logs"], past)
    profile: dict[str, Any] = {
        "rows": rows["logs"],
        "clicks": sum(scene["clicks"] for scene in scenes.values()),
        "scenes": scenes,
        "quarantined": reasons,
        "late": late,
        **contents,
        **manifest.profile,
    }
    return profile, [
        checks.conservation("logs", rows | {"logs": sums["own"]}, manifest.rows_in, "the raw files"),
        *checks.arrived(rows["logs"] - sums["own"], profile.get("arrived", {})),
        *late_checks,
        checks.no_late_events(rows["late"], len(late), reasons.get(LATE, 0), len(late_days)),
        *checks.repairs(profile.get("repairs")),
        *file_checks(profile, manifest.rows_in),
        checks.unique("logs", TABLES["logs"].key, rows["logs"], sums["distinct"]),
        checks.quarantine_rate(rows["quarantine"], manifest.rows_in),
        known_scenes(staged["quarantine"], reasons.get(UNKNOWN_SCENE, 0), manifest.rows_in),
        *checks.against_trailing(profile, past),
        *of_contents,
    ]


def _reasons(quarantine: DataFrame) -> dict[str, int]:
    """Return rejected rows by reason."""
    counts = quarantine.select(F.explode("reasons").alias("reason")).groupBy("reason").count().collect()
    return {row["reason"]: row["count"] for row in sorted(counts)}


def _late(late: DataFrame, day: date) -> tuple[dict[str, Any], list[Check]]:
    """Return rows and digest of each earlier day's events (the digest does not depend on their order), and the check."""
    content = F.xxhash64(*late.columns).cast("decimal(20,0)")
    counts = (
        late.groupBy("day")
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.sum(content).alias("digest"),
            F.count_if(F.to_date("log_ts") != F.col("day")).alias("wrong"),
        )
        .orderBy("day")
        .collect()
    )
    profile = {
        str(row["day"]): {"rows": row["rows"], "digest": f"{int(row['digest']) % (1 << 64):016x}"} for row in counts
    }
    return profile, [
        checks.late_in_reach(day, {row["day"]: row["rows"] for row in counts}, sum(row["wrong"] for row in counts))
    ]


def _audit_features(lake: Lake, manifest: Manifest, staged: dict[str, DataFrame]) -> tuple[dict[str, Any], list[Check]]:
    unique = {name: table.key for name, table in SPECS["features"].tables.items() if table.key}
    counted = {
        table: _IMPRESSION_COLUMNS[table.split("_")[0]] for table in ("agg_user_item", "agg_user", "agg_item", *unique)
    }
    parts = []
    for table, column in counted.items():
        key = F.xxhash64(*unique[table]) if table in unique else F.lit(None).cast("bigint")
        rows = F.col(column) if column else F.lit(0).cast("bigint")
        parts.append(staged[table].select(F.lit(table).alias("table"), key.alias("key"), rows.alias("impressions")))
    facts = (
        reduce(DataFrame.unionByName, parts)
        .groupBy("table")
        .agg(F.count_distinct("key").alias("distinct"), F.sum("impressions").alias("impressions"))
    )
    sums = {row["table"]: row for row in facts.collect()}
    impressions = {table: sums[table]["impressions"] if table in sums else 0 for table in counted}
    distinct = {table: sums[table]["distinct"] if table in sums else 0 for table in unique}
    records = [checks.unique(table, key, manifest.tables[table].rows, distinct[table]) for table, key in unique.items()]
    records += checks.impressions_conserved(lake, manifest, impressions, _due(staged, lake, manifest))
    scenes = {row["scene"]: row["ctr_7d"] for row in staged["features_scene"].collect()}
    complete = set(scenes) == set(get_settings().scenes) and all(0 < ctr < 1 for ctr in scenes.values())
    observed = ", ".join(f"{scene} {ctr:.4f}" for scene, ctr in sorted(scenes.items()))
    records.append(
        check_result(
            "features_scene", "expect_every_scene", complete, "each scene once, 0 < CTR < 1", observed, column="scene"
        )
    )
    return {table: impressions[table] for table in ("totals_user", "totals_item")}, records


def _audit_training(lake: Lake, manifest: Manifest, staged: dict[str, DataFrame]) -> tuple[dict[str, Any], list[Check]]:
    frame = staged["training"]
    rows = manifest.tables["training"].rows
    with_counts = {entity: F.count_if(F.col(f"{entity}_level") != "zero").alias(entity) for entity in ("user", "item")}
    fingerprint = F.xxhash64(*logged_columns(frame.columns))
    sketches = {
        part: F.theta_sketch_agg(column, LG_SIZE).alias(part)
        for part, column in zip(PARTS, (fingerprint, F.when(F.col("label") == 1, fingerprint)), strict=True)
    }
    sums = _first(frame.agg(_distinct("event_id").alias("distinct"), *with_counts.values(), *sketches.values()))
    write_sketch(lake, parse_day(manifest.day), manifest.build, {part: bytes(sums[part]) for part in sketches})
    has_snapshot = any(key.startswith("features/") for key in manifest.inputs)
    sample = leak_sample(frame, lake, manifest)
    aucs = column_aucs(sample)
    recent = _recent_aucs(lake, parse_day(manifest.day))
    return {**manifest.profile, "aucs": aucs}, [
        checks.conservation(
            "training", {"training": rows} | _left_out(manifest), manifest.rows_in, f"logs {manifest.day}"
        ),
        checks.unique("training", TABLES["training"].key, rows, sums["distinct"]),
        *checks.found_shares(rows, {entity: sums[entity] for entity in with_counts}, has_snapshot),
        *checks.lineage(lake, manifest),
        *_recomputed(lake, manifest, frame),
        *leak_checks(sample, aucs, recent),
    ]


def _left_out(manifest: Manifest) -> dict[str, int]:
    """Return the logged rows that are no training rows, by what they are: those of scenes that the settings do not list."""
    return {f"of scene {scene}": rows for scene, rows in manifest.profile.get("unlisted_scenes", {}).items()}


def leak_sample(training: DataFrame, lake: Lake, manifest: Manifest) -> pd.DataFrame:
    """Return about `LEAK_SAMPLE_ROWS` rows with the texts of their log.

    A hash of the event id chooses them, so that they are the same ones every time.
    """
    one_in = max(1, manifest.tables["training"].rows // LEAK_SAMPLE_ROWS)
    event = F.xxhash64("event_id")
    numbers = training.select(event.alias("event"), "label", "scene", *SUSPECTS)
    uri = lake.table_uri("logs", parse_day(manifest.day), f"audit of training {manifest.day}")
    texts = read_uri(training.sparkSession, "logs", uri).select(event.alias("event"), *TEXTS)
    sampled = F.pmod("event", F.lit(one_in)) == 0
    number_rows, text_rows = (frame.where(sampled).toPandas() for frame in (numbers, texts))
    return number_rows.sort_values("event").merge(text_rows, on="event", how="left")


def _recent_aucs(lake: Lake, day: date) -> list[Aucs]:
    manifests = (lake.manifest("training", past) for past in window(previous(day)))
    return [manifest.profile["aucs"] for manifest in manifests if manifest and "aucs" in manifest.profile]


def _recomputed(lake: Lake, manifest: Manifest, training: DataFrame) -> Iterator[Check]:
    """Compare counts of some users and items with the published tables of the days before, whatever the job has read."""
    before = previous(parse_day(manifest.day))
    spark = training.sparkSession
    week = [features for day in window(before) if (features := lake.manifest("features", day))]
    if not week or week[-1].day != str(before):
        rows = dict.fromkeys(("user", "item"), manifest.table("training").rows)
        yield from recomputed(training, None, _one_in(rows))
        return

    def published(table: str, *days: Manifest) -> DataFrame:
        return read_uri(spark, table, *(lake.uri(day.table(table).path) for day in days))

    past = Past(
        published("agg_user_item", *week),
        published("agg_user_topic", *week),
        {entity: published(f"totals_{entity}", week[-1]) for entity in ("user", "item")},
    )
    yield from recomputed(
        training, past, _one_in({entity: week[-1].table(f"totals_{entity}").rows for entity in past.totals})
    )


def _one_in(rows: dict[str, int]) -> dict[str, int]:
    return {entity: max(1, count // RECOMPUTED_KEYS) for entity, count in rows.items()}


def _due(staged: dict[str, DataFrame], lake: Lake, manifest: Manifest) -> dict[str, int]:
    """Return, by table of totals, the impressions of the keys that the retention forgets today unless they have returned."""
    day = parse_day(manifest.day)
    oldest = day - timedelta(days=get_settings().retention_days)
    before = lake.manifest("features", previous(day))
    if before is None or lake.days("logs")[0] > oldest:
        return {}
    due = {}
    for table in ("totals_user", "totals_item"):
        frame = read_uri(staged[table].sparkSession, table, lake.uri(before.table(table).path))
        expiring = frame.where(F.col("last_seen") <= F.lit(oldest))
        due[table] = _first(expiring.agg(F.coalesce(F.sum("impressions_total"), F.lit(0)).alias("due")))["due"]
    return due


def _distinct(*key: str) -> Any:
    return F.count_distinct(F.xxhash64(*key))


def _first(frame: DataFrame) -> Row:
    row = frame.first()
    assert row is not None
    return row
