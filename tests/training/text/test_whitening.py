import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import InvalidInputError
from training.text.whitening import SMALLEST_EIGENVALUE, Whitening


def random_vectors(rows: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + rng.normal(size=width)).astype(
        np.float32
    )


@given(seed=st.integers(0, 1000), width=st.integers(2, 12))
def test_fitted_vectors_become_uncorrelated_with_unit_variance(seed, width):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(width, width)))[0]
    vectors = (rng.normal(size=(400, width)) * rng.uniform(0.5, 3, width)) @ turn + rng.normal(size=width)
    whitened = Whitening.fit(vectors.astype(np.float32)).apply(vectors.astype(np.float32))
    assert np.allclose(whitened.mean(axis=0), 0, atol=1e-3)
    assert np.allclose(np.cov(whitened.T, bias=True), np.eye(width), atol=1e-2)


def test_keeps_the_strongest_directions_when_there_are_too_many():
    vectors = random_vectors(500, 20, 3) * np.linspace(0.1, 3, 20, dtype=np.float32)
    whitening = Whitening.fit(vectors, dim=4)
    assert whitening.apply(vectors).shape == (500, 4)
    assert (np.diff(whitening.deviation) <= 0).all()


def test_a_direction_without_variance_is_not_blown_up():
    vectors = np.concatenate([random_vectors(200, 3, 1), np.full((200, 1), 2.0, np.float32)], axis=1)
    strange = vectors[:1] + np.array([[0, 0, 0, 1.0]], np.float32)
    whitening = Whitening.fit(vectors)
    moved = np.abs(whitening.apply(strange) - whitening.apply(vectors[:1])).max()
    assert moved <= 1.01 / (whitening.deviation[0] * np.sqrt(SMALLEST_EIGENVALUE))


def test_other_spaces_keep_how_much_directions_vary():
    vectors = random_vectors(300, 6, 4) * np.linspace(1, 3, 6, dtype=np.float32)
    centred = vectors - vectors.mean(axis=0)
    for space, width in (("pca", 4), ("encoder", 6)):
        whitening = Whitening.fit(vectors, dim=4, space=space)
        assert whitening.dim == width
        mapped = whitening.apply(vectors)
        assert np.isclose(mapped.var(axis=0).mean(), 1, atol=1e-3)
        assert mapped.var(axis=0).max() > 1.5
        back = whitening.directions(mapped)
        assert np.allclose(np.linalg.norm(back, axis=1), 1, atol=1e-4)
    assert np.allclose(back, centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("space", ["whitened", "pca", "encoder"])
def test_drift_is_small_for_similar_texts_and_large_for_others(space):
    whitening = Whitening.fit(random_vectors(2000, 6, 1), space=space)
    same = whitening.drift(random_vectors(2000, 6, 1)[:100])
    assert same.shift < 0.15
    assert not same.refit
    deviation = random_vectors(2000, 6, 1).std(axis=0)
    moved = whitening.drift(random_vectors(2000, 6, 1)[:100] + deviation)
    assert moved.shift > 0.3
    assert moved.refit
    wider = whitening.drift(2 * random_vectors(2000, 6, 1)[:100])
    assert wider.spread > 2
    assert wider.refit


def test_directions_have_length_one_and_nothing_stays_nothing():
    vectors = random_vectors(50, 6, 2)
    whitening = Whitening.fit(vectors)
    whitened = np.concatenate([whitening.apply(vectors), np.zeros((1, 6), np.float32)])
    lengths = np.linalg.norm(whitening.directions(whitened), axis=1)
    assert np.allclose(lengths[:-1], 1, atol=1e-5)
    assert lengths[-1] == 0


def test_too_few_texts_say_what_to_run():
    with pytest.raises(InvalidInputError, match="embed-texts"):
        Whitening.fit(np.zeros((1, 4), np.float32))
