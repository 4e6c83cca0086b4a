import numpy as np

from training.text.text_table import TextTable
from training.text.topics import TOPICS, Topics, share, total
from training.text.whitening import unit


def texts() -> TextTable:
    """Thirty texts around three directions; row 0 is no text."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(3, 8, dtype=np.float32), 10, axis=0) + 0.02 * rng.normal(size=(30, 8)).astype(np.float32)
    table = np.concatenate([np.zeros((1, 8), np.float32), unit(vectors)])
    flags = np.arange(31) > 0
    return TextTable(np.arange(30, dtype=np.int64), table, table, table, flags, flags)


def test_texts_alike_are_of_the_same_topics_and_others_are_not():
    table = texts()
    members = Topics.fit(table.unit[1:], seed=1).of(table)
    assert members.shape == (31, TOPICS)
    assert np.allclose(members[1:].sum(axis=1), 1, atol=1e-5)
    within, across = members[1] @ members[2], members[1] @ members[15]
    assert within > 100 * across


def test_no_text_is_of_no_topic():
    table = texts()
    assert not Topics.fit(table.unit[1:], seed=1).of(table)[0].any()


def test_the_same_texts_and_seed_give_the_same_topics():
    table = texts()
    assert np.array_equal(Topics.fit(table.unit[1:], seed=1).centres, Topics.fit(table.unit[1:], seed=1).centres)


def test_totals_and_shares_leave_padding_out():
    members = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    totals = total(np.array([[1, 1, 2], [0, 0, 0]]), members)
    assert totals.tolist() == [[2, 1], [0, 0]]
    assert np.allclose(share(totals), [[2 / 3, 1 / 3], [0, 0]])
