"""Builds of training rows leave what tells how much they differ, when the raw log of their day was delivered again."""

import pytest
from small_days import DAY, csv_text, raw_row, run_stage, write_raw

from include.lake.row_sketch import differing_share

pytestmark = pytest.mark.spark

ROWS = 200


def delivered(spark, lake, rows) -> str:
    """Make the training rows of a lake's first day from these raw rows; return their build."""
    write_raw(csv_text(rows))
    for stage in ("logs", "training"):
        run_stage(spark, lake, stage)
    return lake.require("training", DAY, "a test").build


def test_a_delivery_with_wrong_labels_differs_by_their_share(spark, lake):
    rows = [raw_row(n) for n in range(ROWS)]
    before = delivered(spark, lake, rows)
    reordered = delivered(spark, lake, rows[::-1])
    assert differing_share(lake, DAY, before, reordered) == 0
    clicks = [n for n in range(ROWS) if rows[n]["label"] == "1"]
    lost = [{**row, "label": "0"} if n in clicks[:10] else row for n, row in enumerate(rows)]
    after = delivered(spark, lake, lost)
    assert differing_share(lake, DAY, before, after) == 10 / len(clicks)
