"""The leakage audit of a version: does it know the day on which it is evaluated? Read from the version's files themselves."""

from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.checks import Check, Measure, check_result, worst
from include.errors import LeakageError
from include.lake.lake import Lake
from include.records import Quality
from include.settings import get_settings
from training.data.vocabulary import Vocabulary
from training.learn.artifact import Predictor

MAX_RETURNING = 0.01
"""Share of the day's first-seen users or items that a vocabulary may hold while the lake's retention has removed nothing yet."""


def audit(lake: Lake, day: date, rows: pa.Table, version: int, model: Predictor, trained_days: list[date]) -> None:
    """Write the record `quality/model`; raises `LeakageError` where a check failed.

    `rows` are the training rows of `day` (`user_id, item_id, user_level, item_level`), `trained_days` the days in the
    version's manifests.
    """
    checks = list(model_checks(day, rows, model, trained_days, forgets=_forgets(lake, day)))
    lake.write_record(
        Quality(stage="model", day=day, build=str(version), rows=rows.num_rows, status=worst(checks), checks=checks)
    )
    failed = [check for check in checks if check.status == "fail"]
    if failed:
        summary = "; ".join(map(str, failed))
        raise LeakageError(
            f"Version {version} has information of {day}, the day it is evaluated on: {summary}. It is not evaluated and cannot "
            "be promoted. Next: correct the fit and clear `train`."
        )


def model_checks(
    day: date, rows: pa.Table, model: Predictor, trained_days: list[date], *, forgets: bool
) -> Iterator[Check]:
    """Yield the checks of a model that will be evaluated on `rows`; `forgets`: users and items may have left the lake by now."""
    newest = max(trained_days, default=None)
    yield check_result(
        "model",
        "expect_trained_before_the_day",
        newest is None or newest < day,
        f"trained on days before {day}",
        f"trained on days up to {newest}" if newest else "no new day",
        measure=Measure((day - newest).days, low=1, unit="days") if newest else None,
    )
    state = model.state
    for entity, vocabulary, counts in (
        ("user", state.users, state.memory.user_counts),
        ("item", state.items, state.memory.item_counts),
    ):
        ids = rows[f"{entity}_id"]
        new = pc.unique(ids.filter(pc.equal(rows[f"{entity}_level"], "zero")))
        returning = len(_rows_in(vocabulary, new))
        share = Measure(returning / max(len(new), 1), high=None if forgets else MAX_RETURNING, unit="share")
        observed = f"{returning:,} of {len(new):,} first seen on {day} are in the vocabulary"
        trained_on = counts[_rows_in(vocabulary, pc.unique(ids)), 0] > 0
        untrained = int((~trained_on).sum())
        yield check_result(
            "model",
            "expect_vocabulary_of_the_days_before",
            untrained == 0,
            f"no {entity} of {day} in the vocabulary without a training row",
            f"{untrained:,} of {len(trained_on):,}; {observed}",
            column=f"{entity}_id",
            failing_rows=untrained,
            measure=Measure(untrained, high=0, unit="ids"),
        )
        yield check_result(
            "model",
            "expect_first_seen_unknown",
            share.within,
            f"no {entity} first seen on {day} in the vocabulary, unless the lake's retention removed it",
            observed,
            column=f"{entity}_id",
            failing_rows=returning,
            measure=share,
        )


def _rows_in(vocabulary: Vocabulary, ids: pa.Array) -> np.ndarray:
    """Return the vocabulary rows of those ids that are in it."""
    rows = vocabulary.encode(ids)
    return rows[rows > 0]


def _forgets(lake: Lake, day: date) -> bool:
    """Return whether the lake is old enough for its retention to have removed ids from before the day."""
    days = lake.days("features")
    return bool(days) and days[0] < day - timedelta(days=get_settings().retention_days)
