import numpy as np
import pytest
from fabricate import day

from include.lake.lake import Lake
from training.text.vector_cache import Part, VectorCache, cached_parts


@pytest.fixture
def cache(tmp_path) -> VectorCache:
    return VectorCache(Lake(f"file://{tmp_path}/lake"), "model")


def vectors(keys, scale=1.0):
    return (np.asarray(keys, np.float32)[:, None] * scale + np.arange(3, dtype=np.float32)).astype(np.float32)


def test_an_empty_cache_finds_nothing(cache):
    is_cached = cache.lookup(np.array([1, 2], np.int64))
    assert is_cached[0].shape == (2, 0)
    assert not is_cached[1].any()
    assert len(cache.keys()) == 0


def test_vectors_come_back_for_their_keys_from_every_part(cache):
    cache.append(np.array([5, -3], np.int64), vectors([5, -3]), day(0))
    cache.append(np.array([9], np.int64), vectors([9]), day(1))
    is_cached, keys = cache.lookup(np.array([-3, 4, 9], np.int64))
    assert keys.tolist() == [True, False, True]
    assert np.array_equal(is_cached[keys], vectors([-3, 9]))
    assert not is_cached[1].any()
    assert cache.keys().tolist() == [-3, 5, 9]


def test_parts_of_later_days_are_not_seen(cache):
    cache.append(np.array([1], np.int64), vectors([1]), day(0))
    cache.append(np.array([2], np.int64), vectors([2]), day(2))
    assert cache.keys(through=day(1)).tolist() == [1]
    assert cache.lookup(np.array([1, 2], np.int64), day(1))[1].tolist() == [True, False]
    assert cache.keys(through=day(2)).tolist() == [1, 2]


def test_a_service_reads_a_part_once_and_new_ones_when_they_come(cache):
    cache.append(np.array([5, -3], np.int64), vectors([5, -3]), day(0))
    keys, parts = np.array([-3, 5, 9], np.int64), {}
    with cached_parts(parts):
        assert cache.lookup(keys)[1].tolist() == [True, True, False]
        (path,) = parts
        parts[path] = Part(parts[path].keys, parts[path].vectors + 1)  # a second reading would not say so
        cache.append(np.array([9], np.int64), vectors([9]), day(1))
        assert np.array_equal(cache.lookup(keys)[0], vectors([-3, 5, 9]) + np.array([[1], [1], [0]]))
    assert np.array_equal(cache.lookup(keys)[0], vectors([-3, 5, 9]))


def test_a_part_that_was_not_finished_is_not_read(cache, tmp_path):
    cache.append(np.array([1], np.int64), vectors([1]), day(0))
    (tmp_path / "lake/embeddings/model=model/part-2023-07-10-x.orc.123.tmp").write_bytes(b"half")
    assert cache.keys().tolist() == [1]
