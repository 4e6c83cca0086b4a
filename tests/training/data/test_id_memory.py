from dataclasses import replace

import numpy as np
import pytest

from include.errors import InvalidInputError
from include.schemas import DEEP_FEATURES
from training.data.id_memory import NEIGHBOURS, Memory, Part, WarmIndex, lift
from training.text.whitening import unit

TOPICS, DIM = 3, 4


def after(memory: Memory, users, items, labels, parts=1) -> Memory:
    """The memory when a day of these rows, half a click expected of each, is over."""
    users, items, labels, rows = np.array(users), np.array(items), np.array(labels, np.float32), len(users)
    share = 1 / np.bincount(users)[users]
    day = Part(
        users=users,
        items=items,
        labels=labels,
        expected=np.full(rows, 0.5, np.float32),
        topics=np.eye(TOPICS, dtype=np.float32)[items % TOPICS],
        intents=np.ones((rows, TOPICS), np.float32),
        share=share,
        deep=np.ones((rows, len(DEEP_FEATURES)), np.float32),
    )
    cut = [Part(*pieces) for pieces in zip(*(np.array_split(part, parts) for part in vars(day).values()), strict=True)]
    seen = np.unique(items)
    return memory.after(cut, seen, unit(np.arange(len(seen) * DIM, dtype=np.float32).reshape(-1, DIM) + 1))


def test_counts_add_up_over_days_and_skip_unknown_ids():
    first = after(Memory.empty(3, 4, TOPICS, DIM), [1, 1, 0], [2, 3, 0], [1, 0, 1])
    memory = after(first, [1], [2], [1])
    assert memory.user_counts[1].tolist() == [3, 2, 1.5]
    assert memory.item_counts[2].tolist() == [2, 2, 1]
    assert not memory.user_counts[0].any()
    assert not memory.item_counts[0].any()
    assert not memory.texts[0].any()


def test_taste_points_to_what_was_clicked_more_than_predicted():
    memory = after(Memory.empty(2, 4, TOPICS, DIM), [1, 1], [1, 2], [1, 0])
    assert memory.tastes[1].tolist() == [0, 0.5, -0.5]


def test_a_users_intents_count_once_a_day_however_many_rows():
    once = after(Memory.empty(2, 4, TOPICS, DIM), [1], [1], [0])
    often = after(Memory.empty(2, 4, TOPICS, DIM), [1, 1, 1], [1, 2, 3], [0, 0, 0])
    assert np.allclose(once.intents[1], often.intents[1])


def test_a_day_in_parts_leaves_the_same_memory():
    rows = [1, 2, 1, 1, 2], [3, 1, 3, 2, 1], [1, 0, 0, 1, 1]
    whole, cut = (after(Memory.empty(3, 4, TOPICS, DIM), *rows, parts=parts) for parts in (1, 3))
    for field in vars(whole):
        assert np.allclose(getattr(whole, field), getattr(cut, field)), field


def test_room_for_new_ids_leaves_the_old_in_place():
    memory = after(Memory.empty(2, 2, TOPICS, DIM), [1], [1], [1])
    larger = memory.extended(5, 6)
    assert larger.user_counts.shape == (5, 3)
    assert np.array_equal(larger.texts[:2], memory.texts)
    assert not larger.item_counts[2:].any()


def test_lift_is_zero_for_the_unknown_and_grows_with_clicks():
    """Only clicks beyond the expected ones raise it."""
    counts = np.array([[0, 0, 0], [100, 20, 10], [100, 10, 10], [10, 2, 1]], np.float32)
    lifts = lift(counts, smoothing=20)
    assert lifts[0] == 0
    assert lifts[1] > lifts[3] > lifts[2]
    assert abs(lifts[2]) < 1e-6


def warm_memory(vectors) -> Memory:
    empty = Memory.empty(1, len(vectors), TOPICS, DIM)
    counts = np.full((len(vectors), 3), 30, np.float32)
    counts[0] = 0
    return Memory(empty.user_counts, counts, empty.tastes, empty.intents, empty.habits, np.asarray(vectors, np.float32))


def test_neighbours_are_the_nearest_other_warm_items():
    vectors = unit(np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0.9, 0.1, 0, 0], [0, 0, 1, 0]], np.float32))
    index = WarmIndex(warm_memory(vectors), np.zeros(4, np.float32), threshold=20)
    hits = index.search(vectors[1:2], np.array([1]))
    assert hits.rows[0, 0] == 2
    assert 1 not in hits.rows[0]
    assert np.isclose(hits.weights.sum(), 1)
    assert hits.similarity[0] > 0.9


def test_items_that_are_not_warm_are_no_neighbours():
    vectors = unit(np.ones((3, DIM), np.float32))
    memory = warm_memory(vectors)
    memory.item_counts[1, 0] = 20
    hits = WarmIndex(memory, np.zeros(3, np.float32), threshold=20).search(vectors[:1], np.array([0]))
    assert hits.rows[0, 0] == 2
    assert not hits.rows[0, 1:].any()


def test_without_warm_items_nothing_stands_in():
    hits = WarmIndex(Memory.empty(1, 1, TOPICS, DIM), np.zeros(1, np.float32), 20).search(
        np.ones((2, DIM), np.float32), np.zeros(2, int)
    )
    assert hits.rows.shape == (2, NEIGHBOURS)
    assert not hits.weights.any()
    assert not hits.lift.any()


@pytest.mark.parametrize("factory", ["HNSW32", "IVF64,Flat"])
def test_an_approximate_index_finds_most_neighbours_repeatably(monkeypatch, factory):
    monkeypatch.setattr("training.data.id_memory.EXACT_ITEMS", 100)
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(3000, 32)).astype(np.float32))
    vectors[0] = 0
    memory = replace(warm_memory(vectors), texts=vectors)
    neighbours = [
        WarmIndex(memory, np.zeros(3000, np.float32), 20, name).search(vectors[1:200], np.arange(1, 200)).rows
        for name in ("Flat", factory, factory)
    ]
    recall = np.mean([len(np.intersect1d(*pair)) / NEIGHBOURS for pair in zip(*neighbours[:2], strict=True)])
    assert recall > 0.9
    assert np.array_equal(neighbours[1], neighbours[2])


def test_an_index_that_faiss_does_not_know_is_named(monkeypatch):
    monkeypatch.setattr("training.data.id_memory.EXACT_ITEMS", 1)
    vectors = unit(np.ones((3, DIM), np.float32))
    with pytest.raises(InvalidInputError, match="CTR_WARM_INDEX is 'Best'"):
        WarmIndex(warm_memory(vectors), np.zeros(3, np.float32), 20, "Best")
