"""Every known kind of leak of a feature pipeline, planted on purpose: the audit of the training partition finds each."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from small_days import DAY, build_only, publish_logs, run_stage

from spark_jobs import training_table
from spark_jobs.training_table import History, history_before, join_features

pytestmark = pytest.mark.spark

DAYS = [DAY + timedelta(days=n) for n in range(4)]
TODAY = DAYS[-1]


def events(seed: int, rows: int = 2500) -> pd.DataFrame:
    """Users and items that differ a little in how much they click."""
    random = np.random.default_rng(seed)
    user = random.integers(800, size=rows)
    item = random.integers(80, size=rows)
    chance = 0.1 + 0.1 * (user % 5 == 0) + 0.1 * (item % 4 == 0)
    return pd.DataFrame(
        {
            "user_id": [f"u{value}" for value in user],
            "item_id": [f"i{value}" for value in item],
            "topic": [f"topic {value % 9}" if value % 9 else "" for value in item],
            "query": [f"wish {value}" for value in random.integers(50, size=rows)],
            "scene": [str(value) for value in random.integers(2, size=rows)],
            "label": (random.random(rows) < chance).astype(int),
        }
    )


@pytest.fixture(scope="module")
def lake_of_days(spark, module_store):
    for n, day in enumerate(DAYS):
        publish_logs(module_store, day, events(n))
        build_only(spark, module_store, "features", day)
        run_stage(spark, module_store, "training", day)
    return module_store


def failures(spark, lake) -> dict[str, str]:
    """Names of the critical checks that today's training partition fails when it is staged again, with what was observed."""
    quality = run_stage(spark, lake, "training", TODAY, publish=False)
    return {check.name: check.observed for check in quality.checks if check.status == "fail"}


def plant(monkeypatch: pytest.MonkeyPatch, change: Callable[[DataFrame], DataFrame]) -> None:
    monkeypatch.setattr(training_table, "join_features", lambda *a: change(join_features(*a)))


def test_honest_rows_pass(spark, lake_of_days):
    assert failures(spark, lake_of_days) == {}


def snapshot_of_today(spark, lake, tables: tuple[str, ...]) -> Callable[..., tuple[History, dict[str, str]]]:
    """`history_before` that reads tables of today instead of yesterday, and records yesterday's."""

    def leaky(*arguments) -> tuple[History, dict[str, str]]:
        history, inputs = history_before(*arguments)
        tomorrow, _ = history_before(spark, lake, TODAY + timedelta(days=1))
        return replace(history, tables=history.tables | {name: tomorrow.tables[name] for name in tables}), inputs

    return leaky


@pytest.mark.parametrize("tables", [("features_user",), ("features_item", "totals_item")])
def test_a_window_that_includes_the_day(spark, lake_of_days, monkeypatch, tables):
    monkeypatch.setattr(training_table, "history_before", snapshot_of_today(spark, lake_of_days, tables))
    found = failures(spark, lake_of_days)
    assert "differ" in found["expect_counts_of_the_days_before"]
    assert f"{tables[0]} of {TODAY}" in found["expect_files_of_the_days_before"]


def test_a_join_on_the_day_instead_of_the_day_before(spark, lake_of_days, monkeypatch):
    monkeypatch.setattr(
        training_table, "history_before", lambda spark, lake, day: history_before(spark, lake, day + timedelta(days=1))
    )
    found = failures(spark, lake_of_days)
    assert {"expect_features_before_the_day", "expect_counts_of_the_days_before"} <= set(found)


def test_a_user_ctr_with_the_own_click(spark, lake_of_days, monkeypatch):
    def own_click(rows: DataFrame) -> DataFrame:
        clicks = F.col("user_clicks_7d") + F.col("label")
        impressions = F.col("user_impressions_7d") + 1
        return rows.withColumns(
            {"user_clicks_7d": clicks, "user_impressions_7d": impressions, "user_ctr_7d": clicks / impressions}
        )

    plant(monkeypatch, own_click)
    assert {"expect_counts_of_the_days_before", "expect_rate_of_its_counts"} <= set(failures(spark, lake_of_days))


@pytest.mark.parametrize("counts", ["user_{}_total", "user_item_{}_7d", "user_topic_{}_7d"])
def test_counts_with_the_own_row(spark, lake_of_days, monkeypatch, counts):
    clicks = counts.format("clicks")
    impressions = counts.format("impressions")
    own_row = {clicks: F.col(clicks) + F.col("label"), impressions: F.col(impressions) + 1}
    plant(monkeypatch, lambda rows: rows.withColumns(own_row))
    assert "user" in failures(spark, lake_of_days)["expect_counts_of_the_days_before"]


def test_a_window_of_rows_that_reaches_into_the_day(spark, lake_of_days, monkeypatch):
    def last_rows(rows: DataFrame) -> DataFrame:
        earlier = Window.partitionBy("user_id").orderBy("log_ts").rowsBetween(-50, -1)
        clicks, impressions = (F.coalesce(F.sum(column).over(earlier), F.lit(0)) for column in ("label", F.lit(1)))
        return rows.withColumns(
            {
                "user_clicks_7d": F.col("user_clicks_7d") + clicks,
                "user_impressions_7d": F.col("user_impressions_7d") + impressions,
            }
        )

    plant(monkeypatch, last_rows)
    assert "expect_counts_of_the_days_before" in failures(spark, lake_of_days)


def test_a_target_encoding_fitted_on_the_rows_of_the_day(spark, lake_of_days, monkeypatch):
    own = Window.partitionBy("user_id")
    plant(monkeypatch, lambda rows: rows.withColumn("deep_features_3", F.avg("label").over(own)))
    assert "deep_features_3" in failures(spark, lake_of_days)["expect_no_leak"]


def test_rows_duplicated_by_a_join(spark, lake_of_days, monkeypatch):
    plant(monkeypatch, lambda rows: rows.unionByName(rows.limit(2)))
    assert {"expect_unique_key", "expect_rows_conserved"} <= set(failures(spark, lake_of_days))


@pytest.mark.parametrize("noise", [0.0, 2.5])
def test_the_label_under_another_name(spark, lake_of_days, monkeypatch, noise):
    plant(monkeypatch, lambda rows: rows.withColumn("deep_features_5", F.col("label") + F.rand(1) * noise))
    assert "deep_features_5" in failures(spark, lake_of_days)["expect_no_leak"]


def test_a_value_that_is_only_logged_after_a_click(spark, lake_of_days, monkeypatch):
    plant(monkeypatch, lambda rows: rows.withColumn("deep_features_7", F.when(F.col("label") == 1, F.rand(1))))
    assert "deep_features_7 missing" in failures(spark, lake_of_days)["expect_no_leak"]


@pytest.mark.parametrize("column", ["query", "item_title"])
def test_a_text_that_carries_the_outcome(spark, lake_of_days, column):
    honest = events(len(DAYS) - 1)
    outcome = np.where(honest["label"] == 1, "viewed details", "passed by")
    text = honest["query"] if column == "query" else "title of " + honest["item_id"]
    publish_logs(lake_of_days, TODAY, honest.assign(**{column: text + " " + outcome}))
    try:
        found = failures(spark, lake_of_days)
    finally:
        publish_logs(lake_of_days, TODAY, honest)
        build_only(spark, lake_of_days, "features", TODAY)
    assert ("query_entities" if column == "query" else column) in found["expect_no_leak"]


def test_a_column_that_was_not_declared(spark, lake_of_days, monkeypatch):
    """It does not reach the table: what is written is what is declared."""
    plant(monkeypatch, lambda rows: rows.withColumn("clicked_later", F.col("label")))
    assert failures(spark, lake_of_days) == {}
    assert isinstance(TODAY, date)
