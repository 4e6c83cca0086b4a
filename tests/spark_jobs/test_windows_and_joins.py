"""Incremental snapshots and training rows equal a plain full recompute, over random histories; no row depends on its own day."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from budget import examples
from duckdb_reference import Logs, equal_a_full_recompute
from hypothesis import given
from hypothesis import strategies as st
from small_days import DAY, build_only, contents, publish_logs, read, run_stage

from include.days.backfill_plan import stale_inputs
from include.errors import MissingDataError
from include.features import FEATURES
from include.settings import get_settings
from include.stages import SPECS

pytestmark = pytest.mark.spark

HISTORIES = 120
"""Enough keys and clicks that the strengths of priors are estimated."""
DAYS = 9


def random_logs(seed: int, days: int = DAYS) -> Logs:
    """Many small random histories at once: keys carry the number of their history, so that each stands alone.

    The topic of item 0 is always the same, that of item 1 differs between impressions, item 2 has none. Some histories are
    dense, some have idle weeks, some begin late; no history is there on every day.
    """
    random = np.random.default_rng(seed)
    topics = np.random.default_rng(seed)
    logs = {}
    dense = random.uniform(0.1, 1.0, HISTORIES)
    for n in range(days):
        rows = []
        for history in np.flatnonzero(random.random(HISTORIES) < dense):
            for _ in range(random.integers(1, 8)):
                user, item, scene = random.integers(3), random.integers(3), random.integers(4)
                topic = ["topic 0", topics.choice(["", "topic 1", "topic 2"]), None][item]
                rows.append((f"h{history}u{user}", f"h{history}i{item}", topic, str(scene), int(random.random() < 0.3)))
        rows.append(("always", "there", "topic", "4", 0))
        frame = pd.DataFrame(rows, columns=["user_id", "item_id", "topic", "scene", "label"])
        frame["item_title"] = [f"title {value}" for value in random.integers(4, size=len(frame))]
        logs[DAY + timedelta(days=n)] = frame
    return logs


def load(spark, lake, logs: Logs) -> None:
    for day, events in logs.items():
        publish_logs(lake, day, events)
        build_only(spark, lake, "features", day)


@given(st.integers(0, 2**32 - 1))
@examples(1)
def test_tables_equal_a_full_recompute(spark, lake, seed):
    clear(lake)
    logs = random_logs(seed)
    load(spark, lake, logs)
    last = DAY + timedelta(days=DAYS - 1)
    for day in (DAY, DAY + timedelta(days=3), last):
        equal_a_full_recompute(spark, lake, logs, day)
    assert [stale_inputs(lake, lake.manifest(stage, last)) for stage in ("features", "training")] == [[], []]
    strengths = read(lake, "features_scene", last)[["user_strength", "item_strength"]]
    assert (strengths != get_settings().ctr_smoothing).any(axis=None), "no strength was estimated"


def test_a_key_unseen_for_the_retention_is_forgotten(spark, lake, monkeypatch):
    """It is new when it returns."""
    monkeypatch.setenv("CTR_RETENTION_DAYS", "7")
    get_settings.cache_clear()
    logs = random_logs(11)
    last = max(logs)
    dense = [
        events[events["user_id"] != "h1u1"] if n < DAYS - 1 and n else events for n, events in enumerate(logs.values())
    ]
    logs = dict(zip(logs, dense, strict=True))
    load(spark, lake, logs)
    equal_a_full_recompute(spark, lake, logs, last)
    assert set(read(lake, "totals_user", last)["user_id"]) < set(pd.concat(logs.values())["user_id"])


def clear(lake) -> None:
    for folder in lake.fs.ls(lake.root, detail=False) if lake.fs.exists(lake.root) else []:
        lake.fs.rm(folder, recursive=True)


def test_a_day_knows_nothing_of_its_own_labels(spark, lake):
    """Change every label of day d: no column of day d's training rows moves but the label; a rerun changes nothing."""
    logs = dict(list(random_logs(7).items())[:3])
    day = DAY + timedelta(days=2)
    load(spark, lake, logs)
    build_only(spark, lake, "training", day)
    before = read(lake, "training", day)
    snapshots = {name: contents(lake, name, day) for name in SPECS["features"].tables}

    build_only(spark, lake, "features", day)
    build_only(spark, lake, "training", day)
    assert {name: contents(lake, name, day) for name in SPECS["features"].tables} == snapshots
    assert sorted(before["event_id"]) == sorted(read(lake, "training", day)["event_id"])

    publish_logs(lake, day, logs[day].assign(label=1 - logs[day]["label"]))
    build_only(spark, lake, "features", day)
    build_only(spark, lake, "training", day)
    after = read(lake, "training", day).set_index("event_id").sort_index()
    before = before.set_index("event_id").sort_index()
    assert (after["label"] == 1 - before["label"]).all()
    assert contents(lake, "features_user", day) != snapshots["features_user"]
    pd.testing.assert_frame_equal(after.drop(columns="label"), before.drop(columns="label"))
    assert {feature.name for feature in FEATURES} <= set(before.columns)


def test_a_gap_in_the_logs_is_named(spark, lake):
    logs = random_logs(3)
    for n in (0, 2):
        publish_logs(lake, DAY + timedelta(days=n), logs[DAY + timedelta(days=n)])
    build_only(spark, lake, "features", DAY)
    with pytest.raises(MissingDataError, match=r"needs the logs of 2023-07-11, which are missing.*2023-07-10"):
        build_only(spark, lake, "features", DAY + timedelta(days=2))


def test_features_of_the_day_before_are_required(spark, lake):
    logs = random_logs(3)
    for n in (0, 1):
        publish_logs(lake, DAY + timedelta(days=n), logs[DAY + timedelta(days=n)])
    for stage in ("features", "training"):
        with pytest.raises(
            MissingDataError, match=rf"{stage} 2023-07-11 needs features 2023-07-10, which is not published"
        ):
            run_stage(spark, lake, stage, DAY + timedelta(days=1))


def test_training_needs_the_logs_of_its_day(spark, lake):
    with pytest.raises(MissingDataError, match="training 2023-07-10 needs logs 2023-07-10"):
        run_stage(spark, lake, "training")


def test_text_keys_are_those_of_python(spark, lake):
    from include.text_key import text_key

    publish_logs(
        lake,
        DAY,
        pd.DataFrame({"user_id": ["u"], "item_id": ["i"], "scene": ["0"], "label": [1], "item_title": ["龙井茶"]}),
    )
    build_only(spark, lake, "features", DAY)
    build_only(spark, lake, "training", DAY)
    texts = read(lake, "texts").set_index("text")
    assert texts.loc["龙井茶"].to_dict() == {"text_key": text_key("龙井茶"), "kind": "title"}
    row = read(lake, "training").iloc[0]
    keys = [text_key("entity"), text_key("more")]
    assert (row["title_key"], list(row["item_entity_keys"])) == (text_key("龙井茶"), keys)
    assert read(lake, "agg_user_topic")["topic_key"].tolist() == keys[:1]
    assert row["user_ctr_7d"] == row["scene_ctr_7d"] == 0.1
    assert get_settings().scenes == ("0", "1", "2", "3", "4")
