"""Rows of scenes that the settings do not list warn with their share and with the line that adds them."""

import json

import pandas as pd
import pytest

from include.settings import get_settings

pytestmark = pytest.mark.spark


def checked(spark, scenes, rows_in=1_000):
    from spark_jobs.audit.scene_checks import known_scenes

    raw = [json.dumps({"user_id": "u", **({} if scene is None else {"scene": scene})}) for scene in scenes]
    reasons = [["late_event", "unknown_scene"] for _ in scenes]
    frame = spark.createDataFrame(
        pd.DataFrame({"raw": [*raw, "a,b"], "reasons": [*reasons, ["malformed_record"]]}),
        "raw string, reasons array<string>",
    )
    return known_scenes(frame, len(scenes), rows_in)


def test_each_scene_is_listed_with_the_line_that_adds_it(spark, lake):
    check = checked(spark, ["home, new", "x", " home, new ", None, "home, new"])
    assert (check.status, check.failing_rows) == ("warning", 5)
    assert check.observed == (
        "home, new (3 rows, 0.30%), no scene (1 rows, 0.10%), x (1 rows, 0.10%); "
        "to accept them: CTR_SCENES='0,1,2,3,4,\"home, new\",x', then `ctr quarantine --day DAY --replay`"
    )


def test_no_line_adds_scenes_that_must_not_be_seen(spark, lake, monkeypatch):
    """Many texts in this column are another column's, which a line of settings must not give away."""
    monkeypatch.setenv("CTR_SENSITIVE_COLUMNS", "scene")
    get_settings.cache_clear()
    check = checked(spark, ["secret"])
    assert check.observed.startswith("masked ")
    assert "CTR_SCENES" not in check.observed


def test_only_the_most_frequent_scenes_are_listed(spark, lake):
    check = checked(spark, [f"s{n:02}" for n in range(30)])
    assert "s09 (1 rows, 0.10%) and others; to accept" in check.observed
    assert "s10" not in check.observed


def test_no_row_of_another_scene_passes(spark, lake):
    assert checked(spark, []).status == "pass"
