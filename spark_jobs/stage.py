"""The work of every job on a day: stage the tables, audit them, write the manifest and, on request, publish.

Progress is one JSON line an event on standard output:
`{"event": "stage", "stage": "logs", "day": "2023-07-17", "state": "published", "rows": 20000, "seconds": 3.1}`; `state` is
start, staged, published, or current (left as it is).
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any

import typer
from pyspark.sql import SparkSession

from include.calendar import days_between, parse_day, previous, window
from include.errors import CtrError, InvalidInputError, UnavailableError, storage_error
from include.lake.lake import Lake, get_lake
from include.lake.manifest import Manifest, TableVersion, new_build
from include.lake.table_ddl import table_ddl
from include.orchestration.spark_submit import raw_bytes
from include.records import Quality
from include.schemas import schema_hash
from include.settings import get_settings, shaping
from include.stages import SPECS, Stage
from include.version import code_version
from spark_jobs.audit.audit import audit
from spark_jobs.session import get_session, own_session


@dataclass(frozen=True)
class Staged:
    """The input of a build: the number of rows read, and the versions of its inputs.

    `profile` holds facts that the tables do not show; the audit completes it.
    """

    rows_in: int
    inputs: dict[str, str]
    profile: dict[str, Any] = field(default_factory=dict)


Build = Callable[[SparkSession, Lake, date, str], Staged]
"""Writes the tables of a stage's day below a staging folder (path under the lake)."""
FirstDay = Annotated[date, typer.Option("--from", parser=parse_day, metavar="DAY", help="first log day, YYYY-MM-DD")]
LastDay = Annotated[date, typer.Option("--to", parser=parse_day, metavar="DAY", help="last log day, included")]
Publish = Annotated[bool, typer.Option("--publish", help="publish each day as soon as it is staged and checked")]


def stage_day(spark: SparkSession, lake: Lake, stage: Stage, day: date, build: Build, *, publish: bool) -> Quality:
    """Stage and audit a day, publish it if `publish`, and return the quality record.

    Raises `DataQualityError`, and publishes nothing, if `publish` and a critical check failed.
    """
    started = time.monotonic()
    emit(stage, day, "start")
    spark = own_session(spark, _input_bytes(lake, stage, day))
    build_id = new_build()
    staging = lake.begin_staging(stage, day, build_id)
    staged = build(spark, lake, day, staging)
    tables = {
        table: TableVersion(
            path=f"{table}/dt={day}/build={build_id}",
            rows=lake.orc_rows(f"{staging}/{table}"),
            bytes=lake.size(f"{staging}/{table}"),
            schema=schema_hash(table_ddl(table)),
        )
        for table in SPECS[stage].tables
    }
    built = time.monotonic()
    manifest = Manifest(
        stage=stage,
        day=str(day),
        build=build_id,
        tables=tables,
        rows_in=staged.rows_in,
        inputs=staged.inputs,
        code_version=code_version(),
        settings=get_settings().values(*shaping(stage)),
        profile=staged.profile,
    )
    audited = audit(spark, lake, manifest)
    now = time.monotonic()
    seconds = {"build": round(built - started, 2), "audit": round(now - built, 2)}
    quality = audited.quality.model_copy(update={"seconds": seconds})
    lake.finish_staging(audited.manifest, quality, audited.docs)
    emit(stage, day, "staged", rows=quality.rows, status=quality.status, seconds=round(now - started, 2))
    if publish:
        lake.publish(stage, day)
        emit(
            stage,
            day,
            "published",
            rows=quality.rows,
            status=quality.status,
            seconds=round(time.monotonic() - started, 2),
        )
    return quality


def _input_bytes(lake: Lake, stage: Stage, day: date) -> int:
    """Return the bytes that a build reads: raw files, or the log, the aggregates of a week and the counts so far."""
    if stage == "logs":
        return raw_bytes(day)
    logs = lake.manifest("logs", day)
    week = [manifest for past in window(previous(day)) if (manifest := lake.manifest("features", past))]
    read = [logs.table("logs")] if logs else []
    read += [table for manifest in week for name, table in manifest.tables.items() if name.startswith("agg_")]
    read += [table for name, table in week[-1].tables.items() if not name.startswith("agg_")] if week else []
    return sum(table.bytes for table in read)


def prepare_audit() -> None:
    """Import Great Expectations, which takes seconds, while the session starts."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    threading.Thread(target=importlib.import_module, args=["great_expectations.expectations"], daemon=True).start()


def emit(stage: str, day: date, state: str, **details: Any) -> None:
    """Print one progress event."""
    print(json.dumps({"event": "stage", "stage": stage, "day": str(day), "state": state, **details}), flush=True)


def day_range(first: date, last: date, *, publish: bool) -> list[date]:
    """Return the days of a job.

    Raises `InvalidInputError` for a range of several days without `publish`, in which day d could not read day d-1.
    """
    days = list(days_between(first, last))
    if len(days) > 1 and not publish:
        raise InvalidInputError(
            f"{days[0]}..{days[-1]} are {len(days)} days, and a day may need the day before it published: "
            "add --publish, or give one day (`--from D --to D`)."
        )
    return days


def run_job(stage: Stage, build: Build, first: date, last: date, *, publish: bool) -> None:
    """Run the job of a stage for the days of a range, ascending.

    Without `publish` a failed critical check leaves exit status 0: the task that publishes reports it.
    """
    days = day_range(first, last, publish=publish)
    prepare_audit()
    spark = get_session(f"{stage} {days[0]}..{days[-1]}")
    lake = get_lake()
    for day in days:
        stage_day(spark, lake, stage, day, build, publish=publish)


def exit_clearly(main: Callable[..., None]) -> None:
    """Run a job's `main` with the options of its command line; print an error that a person can act on without a traceback.

    The exit status is then 2, or 1 where a service was unavailable and the same job may succeed later.
    """
    cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    cli.command()(main)
    try:
        cli()
    except Exception as error:
        reported = error if isinstance(error, CtrError | UnavailableError) else _storage_failure(error)
        if reported is None:
            raise
        print(json.dumps({"event": "error", "kind": type(reported).__name__, "message": str(reported)}), flush=True)
        print(f"{type(reported).__name__}: {reported}", file=sys.stderr)
        raise SystemExit(reported.exit_status) from None


def _storage_failure(error: Exception) -> CtrError | UnavailableError | None:
    """Return the project's error for one of local files or of Hadoop's client, passed on by Spark; None for other errors."""
    if isinstance(error, OSError):
        return storage_error(error)
    if "hdfs" not in str(error):
        return None
    from include.lake.hdfs import translate_hdfs_error

    return translate_hdfs_error(
        error, f"Spark, with the lake {get_settings().lake_url} and the raw logs {get_settings().raw_url}"
    )
