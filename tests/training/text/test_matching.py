import numpy as np

from training.text.matching import CENTRES, MATCH_WIDTH, match

UNIT = np.array([[0, 0], [1, 0], [0, 1], [0.8, 0.6]], np.float32)


def test_the_same_text_is_a_match_of_one():
    (row,) = match(UNIT, np.array([[1, 2]]), np.array([[1]]))
    assert np.isclose(row[CENTRES.index(1.0)], 1)
    assert np.allclose(row[-2:], 1)


def test_each_intent_counts_with_the_nearest_of_the_items_texts():
    (row,) = match(UNIT, np.array([[1, 0]]), np.array([[3, 2]]))
    assert np.allclose(row[-2:], [0.4, 0.8], atol=1e-6)


def test_nothing_to_compare_is_zero():
    rows = match(UNIT, np.array([[1, 2], [0, 0]]), np.array([[0, 0], [1, 2]]))
    assert rows.shape == (2, MATCH_WIDTH)
    assert not rows.any()


def test_padding_changes_nothing():
    short = match(UNIT, np.array([[1]]), np.array([[2, 3]]))
    long = match(UNIT, np.array([[1, 0, 0]]), np.array([[2, 3, 0, 0]]))
    assert np.allclose(short, long)
