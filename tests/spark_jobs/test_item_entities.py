"""Entities are those of the impression; of an item without any on an impression, those of most impressions of its last day."""

from datetime import timedelta

import pandas as pd
import pytest
from duckdb_reference import equal_a_full_recompute
from small_days import DAY, build_only, publish_logs, read

from include.text_key import text_key

pytestmark = pytest.mark.spark

FIRST, SECOND, THIRD = (DAY + timedelta(days=n) for n in range(3))
TOPICS = {
    FIRST: {"same": ["tea"] * 3, "other": ["cup", "cup", "tea", "", "pot"], "even": ["a", "b"]},
    SECOND: {"same": ["tea"], "other": ["tea", "cup", "tea"], "even": ["b", "a", "b", "a"]},
    THIRD: {"same": [""], "other": ["", "pot", "cup"], "even": ["", ""]},
}
"""Topics of the impressions of each item by day: of one that is the same on all, and of two that differ."""


def events(day) -> pd.DataFrame:
    rows = [(item, topic) for item, topics in TOPICS[day].items() for topic in topics]
    frame = pd.DataFrame(rows, columns=["item_id", "topic"])
    return frame.assign(user_id="u", scene="0", label=(frame.index % 3 == 0).astype(int))


def test_entities_that_differ_between_impressions(spark, lake):
    logs = {}
    topics = {}
    for day in TOPICS:
        logs[day] = events(day)
        publish_logs(lake, day, logs[day])
        build_only(spark, lake, "features", day)
        items = read(lake, "items", day).set_index("item_id")["item_entities"]
        topics[day] = {item: entities[0] for item, entities in items.items()}
        equal_a_full_recompute(spark, lake, logs, day)
    assert topics[FIRST] == {"same": "tea", "other": "cup", "even": "b"}
    assert topics[SECOND] == {"same": "tea", "other": "tea", "even": "b"}  # as many impressions: the same as before
    assert topics[THIRD] == {"same": "tea", "other": "pot", "even": "b"}
    rows = read(lake, "training", THIRD)
    assert [entities[0] if len(entities) else None for entities in rows["item_entity_keys"]] == [
        text_key(topic) if topic else None for topic in logs[THIRD]["topic"]
    ]
    of_topic = dict(zip(logs[THIRD]["topic"], rows["user_topic_impressions_7d"], strict=True))
    assert of_topic == {"": 0, "pot": 1, "cup": 3}  # of whatever item was shown with it
