import numpy as np
import pyarrow as pa
import pytest
from fabricate import day

from include.lake.lake import Lake
from training.text.text_table import BAG_LENGTH, TextTable, bag_width, keys_in
from training.text.vector_cache import VectorCache
from training.text.whitening import Whitening

KEYS = np.array([-7, 3, 11], np.int64)
PLAIN = Whitening(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), np.ones(2, np.float32))


@pytest.fixture
def table(tmp_path) -> TextTable:
    lake = Lake(f"file://{tmp_path}/lake")
    caches = VectorCache(lake, "text"), VectorCache(lake, "llm")
    caches[0].append(KEYS[:2], np.array([[3, 4], [0, 2]], np.float32), day(0))
    caches[1].append(KEYS[:1], np.array([[1, 1]], np.float32), day(1))
    return TextTable.load(KEYS, caches, (PLAIN, PLAIN), day(1))


def test_a_text_without_a_vector_is_missing_and_counted(table):
    assert table.missing == 1
    assert table.rows_of(np.array([-7, 3, 11, 99])).tolist() == [1, 2, 0, 0]
    assert not table.text[0].any()


def test_language_model_vectors_of_later_days_do_not_count(table, tmp_path):
    caches = VectorCache(Lake(f"file://{tmp_path}/lake"), "text"), VectorCache(Lake(f"file://{tmp_path}/lake"), "llm")
    assert table.has_llm.tolist() == [False, True, False, False]
    assert not TextTable.load(KEYS, caches, (PLAIN, PLAIN), day(0)).has_llm.any()


def test_a_bag_holds_the_rows_of_a_list_padded_with_nothing(table):
    lists = pa.chunked_array([pa.array([[3, -7], None, [], [99, 3]], pa.list_(pa.int64()))])
    assert bag_width(lists) == 2
    assert table.bag(lists, 2).tolist() == [[2, 1], [0, 0], [0, 0], [0, 2]]
    assert table.bag(lists.slice(3), 3).tolist() == [[0, 2, 0]]


def test_there_may_be_no_lists(table):
    lists = pa.chunked_array([pa.array([[3]], pa.list_(pa.int64()))]).slice(1)
    assert table.bag(lists, bag_width(lists)).shape == (0, 1)


def test_only_the_last_entities_of_a_long_sequence_are_read(table):
    lists = pa.chunked_array([pa.array([[-7] * 5 + [3] * BAG_LENGTH], pa.list_(pa.int64()))])
    assert table.bag(lists, bag_width(lists)).tolist() == [[2] * BAG_LENGTH]


def test_an_items_vector_is_title_and_mean_entity_at_length_one(table):
    vector = table.item_vectors(np.array([1, 0]), np.array([[2, 0], [0, 0]]))
    assert np.allclose(vector[0], np.array([0.6, 1.8]) / np.hypot(0.6, 1.8))
    assert not vector[1].any()


def test_keys_of_rows_are_distinct_and_sorted():
    lists = pa.array([[5, 1], None], pa.list_(pa.int64()))
    rows = pa.table({"title_key": pa.array([9, None], pa.int64()), "item_entity_keys": lists})
    assert keys_in(rows, ("title_key", "item_entity_keys")).tolist() == [1, 5, 9]
