"""Does a model know the day on which it is evaluated? Asked of the version itself, whatever it says of itself."""

from collections.abc import Iterator
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import LeakageError
from include.lake import Lake
from include.quality import Record, record, worst
from training.artifact import Predictor

MAX_KNOWN = 0.01
"""Share of the day's first-seen users or items that a vocabulary may hold: those that the retention forgot and that returned."""


def audit(store: Lake, day: date, rows: pa.Table, version: int, model: Predictor, learnt: list[date]) -> None:
    """Writes the record `quality/model`; raises `LeakageError` where a check failed.

    `rows` are the training rows of `day` (`user_id, item_id, user_level, item_level`), `learnt` the days that the version's
    manifests name.
    """
    checks = list(model_checks(day, rows, model, learnt))
    quality = {
        "stage": "model",
        "day": str(day),
        "build": str(version),
        "rows": rows.num_rows,
        "status": worst(checks),
        "checks": checks,
    }
    store.write_record("quality/model", day, quality)
    failed = [check for check in checks if check["status"] == "fail"]
    if failed:
        told = "; ".join(
            f"{check['name']}: expected {check['expected']}, observed {check['observed']}" for check in failed
        )
        raise LeakageError(
            f"Version {version} knows something of {day}, the day it is evaluated on: {told}. "
            "It is not evaluated and cannot be promoted: correct what was fitted, and clear `train`."
        )


def model_checks(day: date, rows: pa.Table, model: Predictor, learnt: list[date]) -> Iterator[Record]:
    """The checks of a model that will be evaluated on `rows`."""
    newest = max(learnt, default=None)
    yield record(
        "model",
        "expect_trained_before_the_day",
        newest is None or newest < day,
        f"learnt from days before {day}",
        f"learnt from days up to {newest}" if newest else "no new day",
    )
    for who, vocabulary in (("user", model.state.users), ("item", model.state.items)):
        new = pc.unique(rows.filter(pc.equal(rows[f"{who}_level"], "zero"))[f"{who}_id"])
        known = int((vocabulary.encode(new) > 0).sum())
        yield record(
            "model",
            "expect_vocabulary_of_the_days_before",
            known <= MAX_KNOWN * max(len(new), 1),
            f"no {who} that was first seen on {day}",
            f"{known:,} of {len(new):,} are in the vocabulary",
            column=f"{who}_id",
            failing_rows=known,
        )
