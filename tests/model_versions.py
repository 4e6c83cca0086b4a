"""Model versions of a registry, made up."""

from datetime import date, timedelta
from typing import Any

from include.registry.model_version import ModelVersion

FIRST_LOG_DAY = date(2023, 7, 17)


def model_version(number: int, **fields: Any) -> ModelVersion:
    """Version 1 is of 17 July 2023, later ones of the days after it; each was promoted and continues the one before."""
    log_day = FIRST_LOG_DAY + timedelta(days=number - 1)
    known = {
        "version": number,
        "run_id": "run",
        "log_day": log_day,
        "trained_from": date(2023, 7, 10),
        "trained_through": log_day - timedelta(days=1),
        "base_version": number - 1 or None,
        "builds": {},
        "content_hash": str(number),
        "verdict": "promote",
        "promoted_at": f"{log_day + timedelta(days=1)}T02:00:00+00:00",
        "promoted_by": "gate",
        "promoted_reason": "better",
        "rolled_back_at": None,
        "rolled_back_by": None,
        "rolled_back_reason": None,
        "pruned_at": None,
        "outdated_notified_at": None,
        "aliases": (),
        "created_at": f"{log_day + timedelta(days=1)}T01:00:00+00:00",
    }
    return ModelVersion(**(known | fields))
