"""Audits what a job staged: Great Expectations suites on each table, then the checks across tables and days.

Run inside the Spark job, on the staged ORC files themselves.
"""

from dataclasses import dataclass, replace

from pyspark.sql import SparkSession

from include.calendar import parse_day, previous
from include.checks import Check, Measure, check_result, worst
from include.lake.lake import Lake
from include.lake.manifest import Manifest
from include.quality.suites import SUITES, Known, Prior, Priors
from include.records import Quality
from include.stages import SPECS
from spark_jobs.audit import data_docs
from spark_jobs.audit.gx import run_suites
from spark_jobs.audit.stage_audits import audit_stage
from spark_jobs.scenes import every_scene, unlisted_scenes
from spark_jobs.session import declared_schema, read_uri


@dataclass(frozen=True)
class Audited:
    """The result of an audit: the manifest with its profile, the quality record, and the Data Docs page as HTML."""

    manifest: Manifest
    quality: Quality
    docs: str


def audit(spark: SparkSession, lake: Lake, manifest: Manifest) -> Audited:
    """Run all checks of a stage's staged day, and return the results; a failed check is a record, not an error."""
    day = parse_day(manifest.day)
    staging = lake.staging(manifest.stage, day, manifest.build)
    staged = {table: read_uri(spark, table, lake.uri(f"{staging}/{table}")) for table in manifest.tables}
    with _plain_execution(spark):
        records = [schema_check(spark, lake, f"{staging}/{table}", table) for table in manifest.tables]
        profile, stage_records = audit_stage(lake, manifest, staged)
        known = Known(
            priors=_priors(spark, lake, manifest),
            unlisted_scenes=unlisted_scenes(lake, day) if manifest.stage == "features" else (),
        )
        suites = [SUITES[table](day, known) for table in manifest.tables if table in SUITES]
        answers = run_suites(staged, suites)
    records += [answer.record for answer in answers] + stage_records
    quality = Quality(
        stage=manifest.stage,
        day=day,
        build=manifest.build,
        rows=manifest.tables[SPECS[manifest.stage].main].rows,
        status=worst(records),
        checks=records,
    )
    docs = data_docs.page(manifest.stage, day, manifest.build, answers)
    return Audited(replace(manifest, profile=profile), quality, docs)


class _plain_execution:
    """Turns adaptive execution off: a small aggregate is then one Spark job instead of two."""

    def __init__(self, spark: SparkSession) -> None:
        self._conf = spark.conf
        self._key = "spark.sql.adaptive.enabled"

    def __enter__(self) -> None:
        self._before = self._conf.get(self._key)
        self._conf.set(self._key, "false")

    def __exit__(self, *_: object) -> None:
        self._conf.set(self._key, str(self._before))


def _priors(spark: SparkSession, lake: Lake, manifest: Manifest) -> Priors:
    """Return the priors behind the CTRs of staged training rows, by scene; none on a lake's first day and in other stages."""
    before = previous(parse_day(manifest.day))
    if manifest.stage != "training" or f"features/{before}" not in manifest.inputs:
        return {}
    uri = lake.table_uri("features_scene", before, f"audit of training {manifest.day}")
    rows = every_scene(read_uri(spark, "features_scene", uri)).collect()
    return {row["scene"]: Prior(row["ctr_7d"], row["user_strength"], row["item_strength"]) for row in rows}


def schema_check(spark: SparkSession, lake: Lake, path: str, table: str) -> Check:
    """Return the record of a check: names and types in the written files are the declared ones, in order."""
    declared = {field.name: field.dataType.simpleString() for field in declared_schema(table)}
    if lake.orc_rows(path) == 0:
        return check_result(table, "expect_declared_schema", True, f"{len(declared)} declared columns", "no rows")
    written = {field.name: field.dataType.simpleString() for field in spark.read.orc(lake.uri(path)).schema}
    wrong = [
        f"{name} {declared.get(name, 'missing')} <> {written.get(name, 'missing')}"
        for name in {**declared, **written}
        if declared.get(name) != written.get(name)
    ]
    return check_result(
        table,
        "expect_declared_schema",
        not wrong,
        f"{len(declared)} declared columns",
        "; ".join(wrong) or f"{len(written)} columns",
        measure=Measure(len(wrong), high=0, unit="columns"),
    )
