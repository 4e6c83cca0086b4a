"""Write, audit, publish: readers see the old day or the new one, wherever a process dies."""

import os
import time
from pathlib import Path

import pytest
from lake_contract import PublicationContract
from lake_day import DAY, seen, stage
from sample_records import train

from include.errors import DataQualityError, MissingDataError
from include.lake.lake import ABANDONED, Lake
from include.lake.table_ddl import table_ddl
from include.records import Train
from include.settings import get_settings
from include.stages import TABLES, scene_columns, stage_of


@pytest.fixture
def store(tmp_path):
    return Lake(f"file://{tmp_path}/lake")


class TestPublication(PublicationContract):
    """On local files."""


def test_a_critical_failure_publishes_nothing_and_says_all(store):
    stage(store, "old")
    store.publish("logs", DAY)
    stage(store, "bad", status="fail")
    with pytest.raises(
        DataQualityError, match=r"logs of 2023-07-10.*\n- logs: a_check on label: expected 0 or 1, observed 7"
    ) as error:
        store.publish("logs", DAY)
    assert [check.name for check in error.value.checks] == ["a_check"]
    assert seen(store) == "old"


def test_a_warning_is_published(store):
    stage(store, "new", status="warning")
    store.publish("logs", DAY)
    assert seen(store) == "new"


def test_what_a_killed_job_left_is_not_published_and_goes_after_a_while(store):
    left, running = (Path(store.path(store.begin_staging("logs", DAY, build))) for build in ("left", "running"))
    (left / "leftover").write_text("x")
    with pytest.raises(MissingDataError, match="Nothing is staged for logs 2023-07-10"):
        store.publish("logs", DAY)
    long_ago = time.time() - ABANDONED.total_seconds() - 60
    os.utime(left, (long_ago, long_ago))
    store.begin_staging("logs", DAY, "next")
    assert not left.exists()
    assert running.exists()


def test_two_jobs_of_a_day_at_once_publish_one_whole_build_each(store):
    first = stage(store, "first")
    folder = Path(store.path(store.begin_staging("logs", DAY, "second")))
    store.publish("logs", DAY)
    assert (seen(store), folder.exists()) == ("first", True)
    stage(store, "second", build="second")
    store.publish("logs", DAY)
    assert seen(store) == "second"
    assert store.manifest("logs", DAY).build != first.build


def test_a_build_that_another_job_replaced_while_it_was_published_is_not_told_as_published(store, monkeypatch):
    stage(store, "old")
    store.publish("logs", DAY)
    first = stage(store, "first")
    read = store.staged("logs", DAY)
    stage(store, "second")
    with monkeypatch.context() as patch:
        patch.setattr(store, "staged", lambda *_: read)
        with pytest.raises(MissingDataError, match=f"Build {first.build} of logs 2023-07-10 cannot be published"):
            store.publish("logs", DAY)
    assert seen(store) == "old"
    store.publish("logs", DAY)
    assert seen(store) == "second"


def test_a_failed_rename_leaves_the_old_json(store, monkeypatch):
    store.write_record(train(DAY, 1))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        store.write_record(train(DAY, 2))
    assert store.record(Train, DAY) == train(DAY, 1)
    assert store.record_days(Train) == [DAY]


def test_missing_data_says_what_needed_it(store):
    with pytest.raises(MissingDataError, match="training 2023-07-11 needs features 2023-07-10, which is not published"):
        store.table_uri("items", DAY, "training 2023-07-11")


def test_every_table_has_a_stage_and_a_complete_schema(monkeypatch):
    monkeypatch.setenv("CTR_SCENES", "a,b,c")
    get_settings.cache_clear()
    try:
        assert {stage_of(table) for table in TABLES} == {"logs", "features", "training"}
        assert table_ddl("features_item").count("impressions_7d_scene_") == 3
        assert scene_columns(("a", "b"))[-1] == "clicks_7d_scene_1"
    finally:
        get_settings.cache_clear()
