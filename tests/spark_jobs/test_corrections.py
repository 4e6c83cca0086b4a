"""Corrected days, redone in the order of the plan: nothing stays stale, and every table equals a full recompute."""

from datetime import date, timedelta

import numpy as np
import pytest
from budget import examples
from duckdb_reference import equal_a_full_recompute
from hypothesis import given
from hypothesis import strategies as st
from small_days import DAY, build_only, publish_logs
from test_windows_and_joins import clear, random_logs

from include.days.backfill_plan import plan

pytestmark = pytest.mark.spark

DAYS = 4


def redo(spark, lake) -> list[tuple[str, date]]:
    """Does what the plan says, in its order, and says what it was."""
    steps = [(step.stage, step.day) for step in plan(lake)]
    for stage, day in steps:
        build_only(spark, lake, stage, day)
    return steps


@given(st.integers(0, 2**32 - 1))
@examples(1)
def test_reruns_and_corrections_in_any_order_equal_a_recompute(spark, lake, seed):
    clear(lake)
    random, logs = np.random.default_rng(seed), random_logs(seed, DAYS)
    for day, events in logs.items():
        publish_logs(lake, day, events)
    assert len(redo(spark, lake)) == 2 * DAYS
    for round_number in range(2):
        corrected = DAY + timedelta(days=int(random.integers(DAYS - 1)))
        logs[corrected] = random_logs(seed + round_number + 1, 1)[DAY]
        publish_logs(lake, corrected, logs[corrected])
        if round_number:  # someone reruns a later day by hand, in the wrong order
            build_only(spark, lake, "features", corrected + timedelta(days=1))
        steps = redo(spark, lake)
        days = range((max(logs) - corrected).days + 1)
        assert steps == [(stage, corrected + timedelta(days=n)) for n in days for stage in ("features", "training")]
        assert plan(lake) == []
    for day in (corrected, corrected + timedelta(days=1), max(logs)):
        equal_a_full_recompute(spark, lake, logs, day)


def test_a_rerun_that_changes_nothing_makes_nothing_stale(spark, lake):
    for day, events in random_logs(1, 3).items():
        publish_logs(lake, day, events)
    redo(spark, lake)
    last = DAY + timedelta(days=2)
    build_only(spark, lake, "training", DAY)
    assert plan(lake) == []
    build_only(spark, lake, "features", last)
    assert plan(lake) == []
