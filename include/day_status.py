"""What is known of a log day: its raw files, published tables, checks, model and verdict, and whether it is out of date."""

from collections import Counter
from datetime import date
from typing import Any

from include.calendar import parse_day
from include.lake import Lake, Manifest
from include.late import late_key, late_version
from include.raw import Raw
from include.raw_check import raw_digest
from include.schemas import STAGES, Stage


def known_days(store: Lake) -> list[date]:
    """Days with raw files, a published stage or a record, ascending."""
    found = set(Raw().days())
    for stage in STAGES:
        found |= {*store.days(stage), *store.record_days(f"quality/{stage}")}
    return sorted(found | set(store.record_days("decision")))


def day_status(store: Lake, day: date) -> dict[str, Any]:
    """One row of `ctr days`; what is not there is None."""
    manifests = {stage: store.manifest(stage, day) for stage in STAGES}
    train, decision = store.record("train", day), store.record("decision", day)
    return {
        "day": str(day),
        "raw_files": len(Raw().day_files(day)),
        "logs": _rows(manifests["logs"], "logs"),
        "quarantined": _rows(manifests["logs"], "quarantine"),
        "users": _rows(manifests["features"], "features_user"),
        "items": _rows(manifests["features"], "features_item"),
        "training": _rows(manifests["training"], "training"),
        "checks": _checks(store, day),
        "model": (train or {}).get("version"),
        "verdict": (decision or {}).get("verdict"),
        "stale": [stage for stage in STAGES if (manifest := manifests[stage]) and stale_inputs(store, manifest)],
    }


def stale_inputs(store: Lake, manifest: Manifest) -> list[str]:
    """The inputs of a published build that have changed since it was made, or that it has not seen: late events of its day."""
    inputs = dict(manifest.inputs)
    late = late_key(parse_day(manifest.day))
    if manifest.stage == "logs" and late not in inputs and current_version(store, late) is not None:
        inputs[late] = ""
    return [key for key, version in inputs.items() if current_version(store, key) != version]


def current_version(store: Lake, key: str) -> str | None:
    """The version of an input as it is now: the build of `stage/day`, the digest of `raw/day` or `late/day`; None if gone."""
    kind, day = key.split("/")
    if kind == "late":
        return late_version(store, parse_day(day))
    if kind == "raw":
        return raw_digest(parse_day(day))
    stage: Stage = next(stage for stage in STAGES if stage == kind)
    manifest = store.manifest(stage, parse_day(day))
    return manifest.build if manifest else None


def _rows(manifest: Manifest | None, table: str) -> int | None:
    return manifest.tables[table].rows if manifest else None


def _checks(store: Lake, day: date) -> dict[str, int]:
    records = (store.record(f"quality/{stage}", day) for stage in STAGES)
    counts = Counter(check["status"] for record in records if record for check in record["checks"])
    return {status: counts[status] for status in ("pass", "warning", "fail")}
