"""Audits what a job staged: Great Expectations suites on each table, then the checks across tables and days.

Run inside the Spark job, on the staged ORC files themselves. Great Expectations is asked for the Boolean result of all
expectations at once, and for details only of those that failed.
"""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import reduce
from typing import Any

import pandas as pd
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from include.calendar import parse_day, previous, window
from include.lake.lake import Lake
from include.lake.manifest import Manifest
from include.lake.row_sketch import LG_SIZE, PARTS, logged_columns, write_sketch
from include.quality.masking import masked
from include.quality.suites import (
    LEAK_SAMPLE_ROWS,
    RECOMPUTED_KEYS,
    SUITES,
    Expectation,
    Prior,
    Priors,
    RowCheck,
    Suite,
)
from include.raw.row_rules import LATE
from include.records import Measure, Record, record, worst
from include.settings import get_settings
from include.stages import SPECS, TABLES
from spark_jobs.audit import checks, data_docs
from spark_jobs.audit.data_docs import Answer
from spark_jobs.audit.leakage import SUSPECTS, TEXTS, Aucs, Past, column_aucs, leak_checks, recomputed
from spark_jobs.columns import parsed_time
from spark_jobs.priors import every_scene
from spark_jobs.session import declared_schema, read_uri

SAMPLE_ROWS = 10
_FLAG = "row_check_"
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Audited:
    """What an audit found of a stage's staged day: the manifest with its profile, the quality record, and the Data Docs page."""

    manifest: Manifest
    quality: dict[str, Any]
    docs: str


def audit(spark: SparkSession, store: Lake, manifest: Manifest) -> Audited:
    """Asks all checks of a stage's staged day."""
    day = parse_day(manifest.day)
    staging = store.staging(manifest.stage, day, manifest.build)
    staged = {table: read_uri(spark, table, store.uri(f"{staging}/{table}")) for table in manifest.tables}
    with _plain_execution(spark):
        records = [schema_check(spark, store, f"{staging}/{table}", table) for table in manifest.tables]
        profile, found = _STAGES[manifest.stage](store, manifest, staged)
        priors = _priors(spark, store, manifest)
        suites = [SUITES[table](day, priors) for table in manifest.tables if table in SUITES]
        checked = run_suites(staged, suites)
    records += [each.record for each in checked] + found
    quality = {
        "stage": manifest.stage,
        "day": manifest.day,
        "build": manifest.build,
        "rows": manifest.tables[SPECS[manifest.stage].main].rows,
        "status": worst(records),
        "checks": records,
    }
    docs = data_docs.page(manifest.stage, day, manifest.build, checked)
    return Audited(replace(manifest, profile=profile), quality, docs)


class _plain_execution:
    """Without adaptive execution a small aggregate is one Spark job instead of two."""

    def __init__(self, spark: SparkSession) -> None:
        self._conf, self._key = spark.conf, "spark.sql.adaptive.enabled"

    def __enter__(self) -> None:
        self._before = self._conf.get(self._key)
        self._conf.set(self._key, "false")

    def __exit__(self, *_: object) -> None:
        self._conf.set(self._key, str(self._before))


# Checks of each stage across tables and days: (profile, records)


def _audit_logs(store: Lake, manifest: Manifest, staged: dict[str, DataFrame]) -> tuple[dict[str, Any], list[Record]]:
    day, rows = parse_day(manifest.day), {name: table.rows for name, table in manifest.tables.items()}
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
    own = F.count_if(F.col("event_id").startswith(f"date={day}/")).alias("own")
    sums = _first(staged["logs"].agg(_distinct("event_id").alias("distinct"), own, *per_scene))
    late, late_checks = _late(staged["late"], day) if rows["late"] else ({}, [])
    reasons, late_days = _reasons(staged["quarantine"]) if rows["quarantine"] else ({}, 0)
    scenes = {
        scene: {"rows": sums[f"rows {scene}"], "clicks": sums[f"clicks {scene}"]} for scene in get_settings().scenes
    }
    profile: dict[str, Any] = {
        "rows": rows["logs"],
        "clicks": sum(scene["clicks"] for scene in scenes.values()),
        "scenes": scenes,
        "quarantined": reasons,
        "late": late,
        **manifest.profile,
    }
    return profile, [
        checks.conservation("logs", rows | {"logs": sums["own"]}, manifest.rows_in, "the raw files"),
        *checks.arrived(rows["logs"] - sums["own"], profile.get("arrived", {})),
        *late_checks,
        checks.no_late_events(rows["late"], len(late), reasons.get(LATE, 0), late_days),
        *checks.repairs(profile.get("repairs")),
        checks.unique("logs", TABLES["logs"].key, rows["logs"], sums["distinct"]),
        checks.quarantine_rate(rows["quarantine"], manifest.rows_in),
        *checks.against_trailing(profile, checks.trailing(store, day)),
    ]


def _reasons(quarantine: DataFrame) -> tuple[dict[str, int], int]:
    """Rejected rows by reason, and of how many days the late ones are."""
    written = parsed_time(F.trim(F.get_json_object("raw", "$.log_time")))
    counts = (
        quarantine.select(F.explode("reasons").alias("reason"), "raw")
        .groupBy("reason")
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count_distinct(F.when(F.col("reason") == LATE, F.to_date(written))).alias("days"),
        )
        .collect()
    )
    days = next((row["days"] for row in counts if row["reason"] == LATE), 0)
    return {row["reason"]: row["rows"] for row in sorted(counts)}, days


def _late(late: DataFrame, day: date) -> tuple[dict[str, Any], list[Record]]:
    """Rows and digest of each earlier day's events; the digest is the same for the same rows in any order."""
    content = F.xxhash64(*late.columns).cast("decimal(20,0)")
    found = (
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
        str(row["day"]): {"rows": row["rows"], "digest": f"{int(row['digest']) % (1 << 64):016x}"} for row in found
    }
    return profile, [
        checks.late_in_reach(day, {row["day"]: row["rows"] for row in found}, sum(r["wrong"] for r in found))
    ]


def _audit_features(
    store: Lake, manifest: Manifest, staged: dict[str, DataFrame]
) -> tuple[dict[str, Any], list[Record]]:
    unique = {name: table.key for name, table in SPECS["features"].tables.items() if table.key}
    counted = {table: _SHOWN[table.split("_")[0]] for table in ("agg_user_item", "agg_user", "agg_item", *unique)}
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
    found = {row["table"]: row for row in facts.collect()}
    impressions = {table: found[table]["impressions"] if table in found else 0 for table in counted}
    distinct = {table: found[table]["distinct"] if table in found else 0 for table in unique}
    records = [checks.unique(table, key, manifest.tables[table].rows, distinct[table]) for table, key in unique.items()]
    records += checks.impressions_conserved(store, manifest, impressions, _due(staged, store, manifest))
    scenes = {row["scene"]: row["ctr_7d"] for row in staged["features_scene"].collect()}
    right = set(scenes) == set(get_settings().scenes) and all(0 < ctr < 1 for ctr in scenes.values())
    told = ", ".join(f"{scene} {ctr:.4f}" for scene, ctr in sorted(scenes.items()))
    records.append(
        record("features_scene", "expect_every_scene", right, "each scene once, 0 < CTR < 1", told, column="scene")
    )
    return {table: impressions[table] for table in ("totals_user", "totals_item")}, records


_SHOWN = {"agg": "impressions", "features": "impressions_7d", "totals": "impressions_total", "items": None}
"""Column of impressions, by the first word of a table's name."""


def _audit_training(
    store: Lake, manifest: Manifest, staged: dict[str, DataFrame]
) -> tuple[dict[str, Any], list[Record]]:
    frame, rows = staged["training"], manifest.tables["training"].rows
    known = {who: F.count_if(F.col(f"{who}_level") != "zero").alias(who) for who in ("user", "item")}
    row = F.xxhash64(*logged_columns(frame.columns))
    sketches = {
        part: F.theta_sketch_agg(rows, LG_SIZE).alias(part)
        for part, rows in zip(PARTS, (row, F.when(F.col("label") == 1, row)), strict=True)
    }
    sums = _first(frame.agg(_distinct("event_id").alias("distinct"), *known.values(), *sketches.values()))
    write_sketch(store, parse_day(manifest.day), manifest.build, {part: bytes(sums[part]) for part in sketches})
    has_snapshot = any(key.startswith("features/") for key in manifest.inputs)
    sample = leak_sample(frame, store, manifest)
    aucs, recent = column_aucs(sample), _recent_aucs(store, parse_day(manifest.day))
    return {**manifest.profile, "aucs": aucs}, [
        checks.conservation("training", {"training": rows}, manifest.rows_in, f"logs {manifest.day}"),
        checks.unique("training", TABLES["training"].key, rows, sums["distinct"]),
        *checks.found_shares(rows, {who: sums[who] for who in known}, has_snapshot),
        *checks.lineage(store, manifest),
        *_recomputed(store, manifest, frame),
        *leak_checks(sample, aucs, recent),
    ]


_STAGES = {"logs": _audit_logs, "features": _audit_features, "training": _audit_training}


def leak_sample(training: DataFrame, store: Lake, manifest: Manifest) -> pd.DataFrame:
    """About `LEAK_SAMPLE_ROWS` rows, the same ones every time (chosen by a hash of the event id), with the texts of their log."""
    one_in = max(1, manifest.tables["training"].rows // LEAK_SAMPLE_ROWS)
    event = F.xxhash64("event_id")
    numbers = training.select(event.alias("event"), "label", "scene", *SUSPECTS)
    uri = store.table_uri("logs", parse_day(manifest.day), f"audit of training {manifest.day}")
    texts = read_uri(training.sparkSession, "logs", uri).select(event.alias("event"), *TEXTS)
    chosen = F.pmod("event", F.lit(one_in)) == 0
    found, told = (frame.where(chosen).toPandas() for frame in (numbers, texts))
    return found.sort_values("event").merge(told, on="event", how="left")


def _recent_aucs(store: Lake, day: date) -> list[Aucs]:
    manifests = (store.manifest("training", past) for past in window(previous(day)))
    return [manifest.profile["aucs"] for manifest in manifests if manifest and "aucs" in manifest.profile]


def _recomputed(store: Lake, manifest: Manifest, training: DataFrame) -> Iterator[Record]:
    """Counts of some users and items against the published tables of the days before, whatever the job has read."""
    before, spark = previous(parse_day(manifest.day)), training.sparkSession
    week = [found for day in window(before) if (found := store.manifest("features", day))]
    if not week or week[-1].day != str(before):
        rows = dict.fromkeys(("user", "item"), manifest.table("training").rows)
        yield from recomputed(training, None, _one_in(rows))
        return

    def published(table: str, *days: Manifest) -> DataFrame:
        return read_uri(spark, table, *(store.uri(day.table(table).path) for day in days))

    past = Past(
        published("agg_user_item", *week),
        published("agg_user_topic", *week),
        {who: published(f"totals_{who}", week[-1]) for who in ("user", "item")},
    )
    yield from recomputed(training, past, _one_in({who: week[-1].table(f"totals_{who}").rows for who in past.totals}))


def _one_in(rows: dict[str, int]) -> dict[str, int]:
    return {who: max(1, count // RECOMPUTED_KEYS) for who, count in rows.items()}


def _due(staged: dict[str, DataFrame], store: Lake, manifest: Manifest) -> dict[str, int]:
    """Impressions so far of the keys that the retention forgets today unless they have returned, by table of totals."""
    day = parse_day(manifest.day)
    oldest = day - timedelta(days=get_settings().retention_days)
    before = store.manifest("features", previous(day))
    if before is None or store.days("logs")[0] > oldest:
        return {}
    due = {}
    for table in ("totals_user", "totals_item"):
        frame = read_uri(staged[table].sparkSession, table, store.uri(before.table(table).path))
        last = frame.where(F.col("last_seen") <= F.lit(oldest))
        due[table] = _first(last.agg(F.coalesce(F.sum("impressions_total"), F.lit(0)).alias("due")))["due"]
    return due


def _distinct(*key: str) -> Any:
    return F.count_distinct(F.xxhash64(*key))


def _first(frame: DataFrame) -> Row:
    row = frame.first()
    assert row is not None
    return row


def _priors(spark: SparkSession, store: Lake, manifest: Manifest) -> Priors:
    """The priors that the CTRs of staged training rows lean on, by scene; none on a lake's first day and in other stages."""
    before = previous(parse_day(manifest.day))
    if manifest.stage != "training" or f"features/{before}" not in manifest.inputs:
        return {}
    uri = store.table_uri("features_scene", before, f"audit of training {manifest.day}")
    rows = every_scene(read_uri(spark, "features_scene", uri)).collect()
    return {row["scene"]: Prior(row["ctr_7d"], row["user_strength"], row["item_strength"]) for row in rows}


def schema_check(spark: SparkSession, store: Lake, path: str, table: str) -> Record:
    """Names and types in the written files are the declared ones, in order."""
    declared = {field.name: field.dataType.simpleString() for field in declared_schema(table)}
    if store.orc_rows(path) == 0:
        return record(table, "expect_declared_schema", True, f"{len(declared)} declared columns", "no rows")
    written = {field.name: field.dataType.simpleString() for field in spark.read.orc(store.uri(path)).schema}
    wrong = [
        f"{name} {declared.get(name, 'missing')} <> {written.get(name, 'missing')}" for name in {**declared, **written}
    ]
    wrong = [each for each in wrong if len(set(each.split(" ", 1)[1].split(" <> "))) > 1]
    return record(
        table,
        "expect_declared_schema",
        not wrong,
        f"{len(declared)} declared columns",
        "; ".join(wrong) or f"{len(written)} columns",
        measure=Measure(len(wrong), high=0, unit="columns"),
    )


# Great Expectations


def run_suites(frames: dict[str, DataFrame], suites: list[Suite]) -> list[Answer]:
    """Every expectation and row check of the suites of a stage's tables (`frames` by table name), with its record.

    Boolean results first, of all suites in one batch; details afterwards, of what failed alone.
    """
    checked = {each.table: frames[each.table].withColumns(_flags(each)) for each in suites}
    everything = checked[suites[0].table] if len(suites) == 1 else _flags_of_all(checked, suites)
    items: list[tuple[Suite, Expectation | RowCheck]] = []
    for each in suites:
        items += [(each, expectation) for expectation in each.expectations]
        items += [(each, check) for check in each.row_checks]
    asked = [_gx(item, each) for each, item in items]
    results = _validate(everything, asked, {"result_format": "BOOLEAN_ONLY"})
    found = []
    for (declared, item), expectation, result in zip(items, asked, results, strict=True):
        failure = None if result["success"] else _details(checked[declared.table], declared, item, expectation)
        found.append(Answer(item, _record(declared, item, failure), failure))
    return found


def _flags(declared: Suite) -> dict[str, Column]:
    """Whether each row check holds, as a Boolean column that is never null."""
    return {_flag(declared, check): F.expr(f"coalesce({check.holds}, false)") for check in declared.row_checks}


def _flag(declared: Suite, check: RowCheck) -> str:
    return f"{_FLAG}{declared.table}_{declared.row_checks.index(check)}"


def _flags_of_all(checked: dict[str, DataFrame], suites: list[Suite]) -> DataFrame:
    """The row checks of several tables side by side, so that one batch answers for all; such suites have nothing else."""
    assert not any(each.expectations for each in suites)
    names = [_flag(each, check) for each in suites for check in each.row_checks]
    parts = []
    for table, frame in checked.items():
        own = {name for name in names if name.startswith(f"{_FLAG}{table}_") and name in frame.columns}
        parts.append(frame.select(*(F.col(name) if name in own else F.lit(True).alias(name) for name in names)))
    return reduce(DataFrame.unionByName, parts)


def _details(checked: DataFrame, declared: Suite, item: Expectation | RowCheck, expectation: Any) -> dict[str, Any]:
    """The GX result of one failed expectation, with a sample of its rows."""
    result_format = {
        "result_format": "SUMMARY",
        "partial_unexpected_count": SAMPLE_ROWS,
        "unexpected_index_column_names": [*declared.key, *_shows(item)],
    }
    return _validate(checked, [expectation], result_format)[0]


def _shows(item: Expectation | RowCheck) -> list[str]:
    return list(item.shows) if isinstance(item, RowCheck) else []


def _gx(item: Expectation | RowCheck, declared: Suite) -> Any:
    import great_expectations.expectations as gxe

    if isinstance(item, RowCheck):
        return gxe.ExpectColumnValuesToBeInSet(column=_flag(declared, item), value_set=[True])
    kind = "".join(part.capitalize() for part in item.type.split("_"))
    arguments = {**item.arguments, **({"column": item.column} if item.column else {})}
    return getattr(gxe, kind)(**arguments)


def _validate(frame: DataFrame, configurations: list[Any], result_format: dict[str, Any]) -> list[dict[str, Any]]:
    """GX results in the order of `configurations`."""
    with _ONE_AT_A_TIME:  # a GX context is global to the process
        return _validate_alone(frame, configurations, result_format)


def _validate_alone(frame: DataFrame, configurations: list[Any], result_format: dict[str, Any]) -> list[dict[str, Any]]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_spark("staged", persist=False)
    batch = (
        source.add_dataframe_asset("table").add_batch_definition_whole_dataframe("day").get_batch({"dataframe": frame})
    )
    result = batch.validate(gx.ExpectationSuite(name="suite", expectations=configurations), result_format=result_format)
    told: list[dict[str, Any]] = [each.to_json_dict() for each in result.results]
    order = {_identity(each["expectation_config"]): each for each in told}
    return [
        order[_identity({"type": each.expectation_type, "kwargs": each.configuration.kwargs})]
        for each in configurations
    ]


def _identity(configuration: dict[str, Any]) -> str:
    kwargs = {key: value for key, value in configuration["kwargs"].items() if key != "batch_id"}
    return json.dumps([configuration["type"], kwargs], sort_keys=True, default=str)


def _record(declared: Suite, item: Expectation | RowCheck, failure: dict[str, Any] | None) -> Record:
    name = item.name if isinstance(item, RowCheck) else item.type
    common: dict[str, Any] = {"column": item.column, "severity": item.severity}
    share = item.arguments.get("mostly") if isinstance(item, Expectation) else None
    if failure is None:
        none = None if share else Measure(0, high=0)  # how many nulls there were is not asked where some may be
        return record(declared.table, name, True, item.expected, "as expected", measure=none, **common)
    result = failure["result"]
    if not result:
        told = "; ".join(
            str(each.get("exception_message")) for each in failure["exception_info"].values() if isinstance(each, dict)
        )
        return record(declared.table, name, False, item.expected, f"the check could not run: {told}", **common)
    wrong, rows = result["unexpected_count"], result["element_count"]
    observed = f"{wrong:,} of {rows:,} rows"
    measure = Measure(wrong / rows, high=round(1 - share, 9), unit="share") if share else Measure(wrong, high=0)
    found = record(declared.table, name, False, item.expected, observed, failing_rows=wrong, measure=measure, **common)
    found["sample"] = [_masked(row) for row in result.get("partial_unexpected_index_list") or []]
    return found


def _masked(row: dict[str, Any]) -> dict[str, Any]:
    """A sample row that may be shown: sensitive columns as a short hash, long text shortened, flags of row checks left out."""
    return {name: masked(name, value) for name, value in row.items() if not name.startswith(_FLAG)}
