"""The audit catches planted faults and leaks, publishes nothing then, and says what is wrong."""

import json
from dataclasses import asdict, replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from small_days import DAY, build_only, contents, csv_text, publish_logs, raw_row, run_stage, write_raw

from include.checks import Check, Measure
from include.errors import DataQualityError
from include.lake.manifest import Manifest
from include.records import Quality
from include.settings import get_settings
from spark_jobs import features, stage, training_table
from spark_jobs.audit import checks

pytestmark = pytest.mark.spark

NEXT = DAY + timedelta(days=1)


def events(seed: int, rows: int = 1500) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "user_id": [f"u{value}" for value in random.integers(900, size=rows)],
            "item_id": [f"i{value}" for value in random.integers(60, size=rows)],
            "scene": [str(value) for value in random.integers(2, size=rows)],
            "label": (random.random(rows) < 0.2).astype(int),
        }
    )


@pytest.fixture
def two_days(spark, lake):
    """Two published days of logs, the features of both, and an honest training table of the second."""
    for n, day in enumerate((DAY, NEXT)):
        publish_logs(lake, day, events(n))
        build_only(spark, lake, "features", day)
    return lake, run_stage(spark, lake, "training", NEXT)


def test_a_scene_new_to_the_settings_uses_the_overall_ctr(spark, two_days, monkeypatch):
    lake, _ = two_days
    monkeypatch.setenv("CTR_SCENES", "0,1,2,3,4,new")
    get_settings.cache_clear()
    honest = events(1)
    publish_logs(lake, NEXT, honest.assign(scene=honest["scene"].where(honest.index % 9 > 0, "new")))
    quality = run_stage(spark, lake, "training", NEXT)
    assert [check for check in quality.checks if check.status == "fail"] == []
    get_settings.cache_clear()


@pytest.mark.parametrize(("impressions", "right"), [(110, True), (105, True), (104, False), (111, False)])
def test_totals_lack_at_most_what_the_retention_forgets(lake, impressions, right):
    before = Manifest("features", str(DAY), "b", {}, 100, {}, "", "", profile={"totals_user": 100})
    lake.write_json(f"_manifests/features/dt={DAY}.json", asdict(before))
    today = replace(before, day=str(NEXT), rows_in=10)
    (found,) = checks.impressions_conserved(lake, today, {"totals_user": impressions}, {"totals_user": 5})
    assert (found.status == "pass") == right


def count_jobs(spark, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on, every audit adds the number of its Spark jobs to the list."""
    jobs: list[int] = []
    honest = stage.audit

    def counted(*arguments):
        group = spark.sparkContext.statusTracker().getJobIdsForGroup
        before = len(group(None))
        result = honest(*arguments)
        jobs.append(len(group(None)) - before)
        return result

    monkeypatch.setattr(stage, "audit", counted)
    return jobs


def test_an_honest_audit_takes_few_spark_jobs(spark, lake, monkeypatch):
    """Two jobs for all expectations of a stage, the rest for what compares tables and days."""
    jobs = count_jobs(spark, monkeypatch)
    publish_logs(lake, DAY, events(0))
    qualities = [run_stage(spark, lake, stage) for stage in ("features", "training")]
    assert [failed(quality) for quality in qualities] == [{}, {}]
    assert max(jobs) <= 6


def failed(quality: Quality) -> dict[str, Check]:
    return {f"{check.table} {check.name} {check.column}": check for check in quality.checks if check.status == "fail"}


def refuse(spark, lake, match: str) -> dict[str, Check]:
    """The training stage of the second day fails its check, and what was published stays."""
    build, rows = lake.manifest("training", NEXT).build, contents(lake, "training", NEXT)
    with pytest.raises(DataQualityError, match=match):
        run_stage(spark, lake, "training", NEXT)
    assert (lake.manifest("training", NEXT).build, contents(lake, "training", NEXT)) == (build, rows)
    return failed(lake.quality("training", NEXT))


def test_honest_days_pass_and_wrong_rows_do_not(spark, two_days, monkeypatch):
    lake, quality = two_days
    assert failed(quality) == {}
    json.dumps(quality.as_json(), allow_nan=False)
    names = {check.name for check in quality.checks}
    assert {"expect_no_leak", "expect_features_before_the_day", "expect_rows_conserved", "expect_unique_key"} <= names
    assert all(check.measure.within for check in quality.checks if check.measure)
    measures = {(check.name, check.column): check.measure for check in quality.checks}
    assert measures["expect_rows_conserved", None] == Measure(1500, 1500, 1500, "rows")
    assert measures["expect_features_before_the_day", None] == Measure(1, 1, None, "days")
    assert measures["expect_level_of_impressions", "user_level"] == Measure(0, None, 0, "rows")
    assert measures["expect_column_values_to_not_be_null", "deep_features_0"] is None  # some may be null: not counted
    honest = training_table.join_features

    def with_own_click(*arguments):
        rows = honest(*arguments)
        own = (F.col("user_clicks_7d") + F.col("label")) / (F.col("user_impressions_7d") + 1.0001)
        return rows.withColumn("user_ctr_7d", F.greatest(own, F.lit(0.01)))

    with monkeypatch.context() as patch:
        patch.setattr(training_table, "join_features", with_own_click)
        found = refuse(spark, lake, "expect_rate_of_its_counts")
        check = found["training expect_rate_of_its_counts user_ctr_7d"]
        assert check.failing_rows > 100
        assert {"event_id", "user_ctr_7d", "user_clicks_7d"} <= set(check.sample[0])

    with monkeypatch.context() as patch:
        patch.setattr(training_table, "join_features", lambda *a: honest(*a).withColumn("user_level", F.lit("warm")))
        found = refuse(spark, lake, "expect_level_of_impressions on user_level")
        check = found["training expect_level_of_impressions user_level"]
        assert check.measure.value == check.failing_rows > 100


def test_a_wrong_snapshot_is_not_published(spark, lake, monkeypatch):
    publish_logs(lake, DAY, events(0, 200))
    honest = features._week
    monkeypatch.setattr(features, "_week", lambda *a: honest(*a).withColumn("clicks_7d", F.col("impressions_7d") + 1))
    with pytest.raises(DataQualityError, match="features_user: expect_clicks_within_impressions"):
        run_stage(spark, lake, "features")
    assert lake.manifest("features", DAY) is None
    check = failed(lake.quality("features", DAY))["features_user expect_clicks_within_impressions clicks_7d"]
    assert check.sample[0]["user_id"].startswith("masked ")


def test_a_day_unlike_the_days_before_is_refused(spark, lake):
    write_raw(csv_text([raw_row(n) for n in range(2000)]))
    run_stage(spark, lake, "logs")
    write_raw(
        csv_text([raw_row(n, log_time=f"{NEXT} 00:00:00", label="1", item_id=f"i{n}") for n in range(550)]), day=NEXT
    )
    with pytest.raises(DataQualityError) as error:
        run_stage(spark, lake, "logs", NEXT)
    message = str(error.value)
    assert "expect_usual_volume: expected 0.3 to 3 times the trailing mean of 2,000 rows, observed 550 rows" in message
    assert (
        "expect_usual_ctr: expected 0.5 to 2 times the trailing 0.2500, observed CTR 1.0000 (550 clicks of 550 rows)"
        in message
    )
    assert lake.manifest("logs", NEXT) is None
    checks = lake.quality("logs", NEXT).checks
    assert {check.failing_rows for check in checks if check.status == "fail"} == {None}, "no row by itself"
    found = {f"{check.name} {check.column}": check.measure for check in checks}
    assert found["expect_usual_volume None"] == Measure(550, 0.3 * 2000, 3 * 2000, "rows")
    assert found["expect_usual_ctr None"] == Measure(1.0, 0.5 * 0.25, 2 * 0.25, "rate")
    assert found["expect_usual_volume scene 0"] == Measure(110, None, None, "rows")


def test_a_share_of_nulls_that_is_too_large_is_measured(spark, lake):
    write_raw(csv_text([raw_row(n, item_title="" if n % 2 else "A cup") for n in range(40)]))
    quality = run_stage(spark, lake, "logs")
    (check,) = [check for check in quality.checks if check.status == "warning"]
    assert (check.column, check.observed) == ("item_title", "20 of 40 rows")
    assert check.measure == Measure(0.5, None, 0.2, "share")
