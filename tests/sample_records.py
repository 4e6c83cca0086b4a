"""Records of a night as the product writes them, with what a test is about in place of the usual."""

from datetime import date, timedelta

from include.checks import worst
from include.metrics_records import ColumnDrift, Drift, Estimate, Freshness, GroupEstimates, PublishedUntil
from include.records import Decision, EvaluatedChampion, EvaluatedVersion, Evaluation, Monitor, Quality, Train

CREATED = "2023-07-18T03:00:00+00:00"


def quality(stage, day, *checks, **fields):
    return Quality(
        **{"stage": stage, "day": day, "build": "b1", "rows": 20, "status": worst(checks), "checks": checks} | fields
    )


def train(day, version=1, **fields):
    usual = {
        "model": "ple",
        "base_version": None,
        "trained_from": day - timedelta(days=2),
        "trained_through": day - timedelta(days=1),
        "days": 2,
        "rows": 40,
        "seconds": 4.0,
        "content_hash": f"hash of {version}",
        "learning_curve": [],
    }
    return Train(**{"day": day, "version": version} | usual | fields)


def decision(day, candidate=1, **fields):
    usual = {
        "verdict": "promote",
        "reasons": ["Every rule is met."],
        "rules": [],
        "champion": None,
        "may_promote": True,
        "policy": {"name": "default"},
        "created_at": CREATED,
    }
    return Decision(**{"day": day, "candidate": candidate} | usual | fields)


def evaluated(version, log_day=date(2023, 7, 17)):
    return EvaluatedVersion(
        version=version,
        log_day=log_day,
        trained_from=log_day - timedelta(days=2),
        trained_through=log_day - timedelta(days=1),
        content_hash=f"hash of {version}",
    )


def evaluated_champion(version, log_day=date(2023, 7, 16), status="unseen", note="has not seen this day"):
    return EvaluatedChampion(**dict(evaluated(version, log_day)) | {"status": status, "note": note})


def estimate(value, margin=0.01):
    """A figure with its interval, or none."""
    if value is None:
        return Estimate(value=None, note="insufficient")
    return Estimate(value=value, low=value - margin, high=value + margin)


def group(by, **fields):
    usual = {"scene": None, "user_level": None, "item_level": None, "n": 10, "clicks": 1, "alpha": None}
    return GroupEstimates(**{"by": by, "ctr": estimate(0.1)} | usual | fields)


def evaluation(day, candidate=1, **fields):
    usual = {
        "champion": None,
        "rows": 20,
        "clicks": 5,
        "users": 4,
        "resamples": 100,
        "unusable": {"candidate": 0},
        "headline": {"candidate": None, "champion": None, "baseline": None, "change": None},
        "groups": [],
        "small_scenes": [],
        "alpha": {"all": None, "user_level": {}, "item_level": {}, "cell": {}},
        "calibration": {},
        "created_at": CREATED,
        "seconds": 1.0,
    }
    return Evaluation(**{"day": day, "candidate": evaluated(candidate, day)} | usual | fields)


def column_drift(name, psi=None, band="insufficient", **fields):
    usual = dict.fromkeys(("null_then", "null_now", "mean_then", "mean_now"))
    return ColumnDrift(**{"name": name, "psi": psi, "band": band} | usual | fields)


def drift(**fields):
    usual = {
        "reference": [],
        "rows_then": 0,
        "rows_now": 20,
        "note": None,
        "moved_from": 0.1,
        "shifted_from": 0.25,
        "features": [],
        "label": column_drift("label"),
        "predictions": column_drift("champion"),
    }
    return Drift(**usual | fields)


def freshness(last=None, days_behind=None, **fields):
    usual = dict.fromkeys(("model_age_days", "raw_arrived_at", "seconds_since_raw"))
    until = PublishedUntil(last=last, days_behind=days_behind)
    return Freshness(**{"published": {"training": until}} | usual | fields)


def monitor(day, **fields):
    usual = {
        "rows": 20,
        "champion": None,
        "metrics": None,
        "metrics_note": "there was no champion yet when the day was evaluated",
        "change": None,
        "drift": drift(),
        "freshness": freshness(),
        "created_at": CREATED,
        "alerts": [],
        "seconds": 1.0,
    }
    return Monitor(**{"day": day} | usual | fields)
