"""The status of a log day: its raw files, published tables, checks, model and verdict, and versions of its inputs."""

from collections import Counter
from datetime import date
from itertools import pairwise
from typing import Any

from include.calendar import days_between, parse_day
from include.lake.lake import Lake
from include.lake.late_events import late_version
from include.lake.manifest import Manifest
from include.lake.model_records import records_of_day
from include.raw.deliveries import Raw
from include.raw.file_check import raw_digest
from include.raw.raw_mapping import raw_mapping
from include.records import Decision, Wait
from include.stages import CHECKED, STAGES, Stage

LONGEST_GAP = 31
"""Days; what is longer is no gap in a log."""


def known_days(lake: Lake) -> list[date]:
    """Return the days of the log and those whose log a run has waited for in vain, ascending."""
    return sorted({*log_days(lake), *lake.record_days(Wait)})


def log_days(lake: Lake) -> list[date]:
    """Return the days that have raw files, a published stage or a record, ascending, with the days between those of a gap.

    A gap of more than `LONGEST_GAP` days is left out: one file of a wrong year must not add thousands of days.
    """
    days = set(Raw().days())
    for stage in STAGES:
        days |= {*lake.days(stage), *lake.quality_days(stage)}
    days |= set(lake.record_days(Decision))
    filled = set(days)
    for before, after in pairwise(sorted(days)):
        if (after - before).days <= LONGEST_GAP:
            filled |= set(days_between(before, after))
    return sorted(filled)


def day_status(lake: Lake, day: date) -> dict[str, Any]:
    """Return a day's row of `ctr status`; what is missing is None."""
    manifests = {stage: lake.manifest(stage, day) for stage in STAGES}
    records = records_of_day(lake, day)
    return {
        "day": str(day),
        "raw_files": len(Raw().day_files(day)),
        "logs": _rows(manifests["logs"], "logs"),
        "quarantined": _rows(manifests["logs"], "quarantine"),
        "users": _rows(manifests["features"], "totals_user"),
        "items": _rows(manifests["features"], "totals_item"),
        "training": _rows(manifests["training"], "training"),
        "checks": check_counts(lake, day),
        "model": records.train and records.train.version,
        "verdict": records.decision and records.decision.verdict,
    }


def current_version(lake: Lake, key: str) -> str | None:
    """Return the current version of an input; None if it is gone.

    That is the build of `stage/day`, or the digest of `raw/day`, of its `mapping/day` or of `late/day`.
    """
    kind, day = key.split("/")
    if kind == "late":
        return late_version(lake, parse_day(day))
    if kind == "raw":
        return raw_digest(parse_day(day)) if Raw().day_files(day) else None
    if kind == "mapping":
        return raw_mapping().digest() if Raw().day_files(day) else None
    stage: Stage = next(stage for stage in STAGES if stage == kind)
    manifest = lake.manifest(stage, parse_day(day))
    return manifest.build if manifest else None


def _rows(manifest: Manifest | None, table: str) -> int | None:
    version = manifest.tables.get(table) if manifest else None
    return version.rows if version else None


def check_counts(lake: Lake, day: date) -> dict[str, int]:
    """Return how many checks of a day passed, warned and failed in the latest attempt of each stage and of the model."""
    records = (lake.quality(stage, day) for stage in CHECKED)
    counts = Counter(check.status for record in records if record for check in record.checks)
    return {status: counts[status] for status in ("pass", "warning", "fail")}
