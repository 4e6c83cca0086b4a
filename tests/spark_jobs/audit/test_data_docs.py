"""The Data Docs page of a stage's day lists the results of the suites, masks sensitive values and runs nothing."""

from html.parser import HTMLParser

import pandas as pd
import pytest
from pyspark.sql import functions as F
from small_days import DAY, csv_text, publish_logs, raw_row, run_stage, write_raw

from include.errors import DataQualityError
from include.lake.lake import Lake, docs_path
from include.quality.suites import SUITES, Known
from include.settings import get_settings
from spark_jobs import features
from spark_jobs.audit import data_docs, gx
from spark_jobs.audit.data_docs import Answer

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> $x $$y"


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.words.append(data)


def assert_runs_nothing(page: Page) -> None:
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object", "form", "base"})
    assert not [name for name in page.attributes if name.startswith("on") or name == "src"]


def read_page(lake: Lake, stage: str) -> Page:
    with lake.fs.open(lake.path(docs_path(stage, DAY))) as file:
        return Page(file.read().decode())


@pytest.mark.spark
def test_a_later_audit_of_the_day_replaces_the_page(spark, lake):
    good = [raw_row(n) for n in range(39)]
    write_raw(csv_text([*good, raw_row(39, item_title=f"{HOSTILE}\ufffd")]))
    run_stage(spark, lake, "logs")
    page = read_page(lake, "logs")
    assert_runs_nothing(page)
    assert "Great Expectations: logs of 2023-07-10" in page.text
    assert "logs: item_title" in page.text
    assert (
        "expect_readable_text (a warning): titles in UTF-8 1 unexpected values found. 2.5% of 40 total rows."
        in page.text
    )
    assert HOSTILE in page.text

    write_raw(csv_text(good))
    run_stage(spark, lake, "logs")
    page = read_page(lake, "logs")
    suite_of_day = SUITES["logs"](DAY, Known())
    for item in suite_of_day.expectations:
        assert item.expected in page.text
    for check in suite_of_day.row_checks:
        assert check.name in page.text
    assert "Unsuccessful Expectations 0" in page.text
    assert "unexpected values found" not in page.text
    assert "row_check_" not in page.text


@pytest.mark.spark
def test_a_refused_day_shows_table_expectation_and_masked_rows(spark, lake, monkeypatch):
    events = pd.DataFrame([raw_row(n) for n in range(40)])[["user_id", "item_id", "scene", "label"]]
    publish_logs(lake, DAY, events.astype({"label": int}))
    honest = features._week
    monkeypatch.setattr(features, "_week", lambda *a: honest(*a).withColumn("clicks_7d", F.col("impressions_7d") + 1))
    with pytest.raises(DataQualityError):
        run_stage(spark, lake, "features")
    page = read_page(lake, "features")
    checks = lake.quality("features", DAY).checks
    (check,) = [check for check in checks if check.column == "clicks_7d" and check.table == "features_user"]
    first = check.sample[0]
    assert page.text.index("features_user: clicks_7d") < page.text.index("totals_user: clicks_total")
    assert (
        f"expect_clicks_within_impressions: clicks <= impressions {check.failing_rows} unexpected values" in page.text
    )
    assert f'"user_id": "{first["user_id"]}", ' in page.text
    assert f'"clicks_7d": {first["clicks_7d"]}' in page.text


def test_no_text_is_markup_and_no_sensitive_value_is_printed(monkeypatch):
    monkeypatch.setenv("CTR_SCENES", f"0,{HOSTILE}")
    get_settings.cache_clear()
    logs = SUITES["logs"](DAY, Known())
    answers = []
    row = {"event_id": HOSTILE, "user_id": "u-sensitive", "row_check_logs_0": False}
    counts = {"element_count": 40, "unexpected_count": 3, "unexpected_percent": 7.5}
    for n, item in enumerate((*logs.expectations, *logs.row_checks)):
        values = {"partial_unexpected_list": ["u-sensitive"], "partial_unexpected_index_list": [row]}
        broken = {"result": {}, "exception_info": {"metric": {"exception_message": HOSTILE}}}
        failure = broken if n == 0 else {"result": counts | values}
        answers.append(Answer(item, gx._record(logs, item, failure), failure))
    page = Page(data_docs.page("logs", DAY, "a build", answers))
    get_settings.cache_clear()
    assert_runs_nothing(page)
    assert f"one of 0, {HOSTILE}" in page.text
    assert f"the check could not run: {HOSTILE}" in page.text
    assert "u-sensitive" not in page.text
    assert '"user_id": "masked ' in page.text
    assert "row_check_" not in page.text
