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
def lake(tmp_path):
    return Lake(f"file://{tmp_path}/lake")


class TestPublication(PublicationContract):
    """On local files."""


def test_a_critical_failure_publishes_nothing_and_says_all(lake):
    stage(lake, "old")
    lake.publish("logs", DAY)
    stage(lake, "bad", status="fail")
    with pytest.raises(
        DataQualityError, match=r"logs of 2023-07-10.*\n- logs: a_check on label: expected 0 or 1, observed 7"
    ) as error:
        lake.publish("logs", DAY)
    assert [check.name for check in error.value.checks] == ["a_check"]
    assert seen(lake) == "old"


def test_a_warning_is_published(lake):
    stage(lake, "new", status="warning")
    lake.publish("logs", DAY)
    assert seen(lake) == "new"


def test_files_of_a_killed_job_are_not_published_and_are_removed(lake):
    """They go only after a while, so that a running job keeps its own."""
    left, running = (Path(lake.path(lake.begin_staging("logs", DAY, build))) for build in ("left", "running"))
    (left / "leftover").write_text("x")
    with pytest.raises(MissingDataError, match="Nothing is staged for logs 2023-07-10"):
        lake.publish("logs", DAY)
    long_ago = time.time() - ABANDONED.total_seconds() - 60
    os.utime(left, (long_ago, long_ago))
    lake.begin_staging("logs", DAY, "next")
    assert not left.exists()
    assert running.exists()


def test_two_jobs_of_a_day_at_once_publish_one_whole_build_each(lake):
    first = stage(lake, "first")
    folder = Path(lake.path(lake.begin_staging("logs", DAY, "second")))
    lake.publish("logs", DAY)
    assert (seen(lake), folder.exists()) == ("first", True)
    stage(lake, "second", build="second")
    lake.publish("logs", DAY)
    assert seen(lake) == "second"
    assert lake.manifest("logs", DAY).build != first.build


def test_publishing_fails_when_another_job_replaced_the_build(lake, monkeypatch):
    """The published build stays, and the other job's build can be published next."""
    stage(lake, "old")
    lake.publish("logs", DAY)
    first = stage(lake, "first")
    read = lake.staged("logs", DAY)
    stage(lake, "second")
    with monkeypatch.context() as patch:
        patch.setattr(lake, "staged", lambda *_: read)
        with pytest.raises(MissingDataError, match=f"Build {first.build} of logs 2023-07-10 cannot be published"):
            lake.publish("logs", DAY)
    assert seen(lake) == "old"
    lake.publish("logs", DAY)
    assert seen(lake) == "second"


def test_a_failed_rename_leaves_the_old_json(lake, monkeypatch):
    lake.write_record(train(DAY, 1))
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        lake.write_record(train(DAY, 2))
    assert lake.record(Train, DAY) == train(DAY, 1)
    assert lake.record_days(Train) == [DAY]


def test_missing_data_says_what_needed_it(lake):
    with pytest.raises(MissingDataError, match="training 2023-07-11 needs features 2023-07-10, which is not published"):
        lake.table_uri("items", DAY, "training 2023-07-11")


def test_every_table_has_a_stage_and_a_complete_schema(monkeypatch):
    monkeypatch.setenv("CTR_SCENES", "a,b,c")
    get_settings.cache_clear()
    try:
        assert {stage_of(table) for table in TABLES} == {"logs", "features", "training"}
        assert table_ddl("features_item").count("impressions_7d_scene_") == 3
        assert scene_columns(("a", "b"))[-1] == "clicks_7d_scene_1"
    finally:
        get_settings.cache_clear()
