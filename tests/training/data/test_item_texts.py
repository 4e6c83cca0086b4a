"""An item whose rows differ in their text: each row is predicted by its own, whatever the others are."""

from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from fabricate import arrow, training_frame

from training.data.item_texts import ItemTexts, _keys
from training.learn.artifact import load_texts
from training.text.text_table import keys_in


@pytest.fixture
def rows(made) -> pa.Table:
    """The rows of a day; every second one has its item's text, the others that of another item."""
    rows = arrow(training_frame(made.log, 4))
    others = rows.take(pa.array(np.where(np.arange(len(rows)) % 2, np.arange(len(rows))[::-1], np.arange(len(rows)))))
    for name in ("title_key", "item_entity_keys"):
        rows = rows.set_column(rows.column_names.index(name), name, others[name])
    return rows


def test_a_prediction_depends_on_no_other_row(rows, made, trained):
    predictor = trained.predictor
    together = predictor.predict(rows, made.lake).probability
    alone = [predictor.predict(rows.slice(start, 1), made.lake).probability[0] for start in range(0, len(rows), 7)]
    assert np.abs(together[::7] - alone).max() < 1e-6


def test_every_text_of_an_item_has_its_own_neighbours(rows, made, trained):
    state = trained.predictor.state
    texts = load_texts(state, keys_in(rows), made.lake, None)
    whole = ItemTexts.of([rows], state, texts)
    assert len(whole.ids) == len(set(rows["item_id"].to_pylist())) < len(whole.keys)
    place = whole.places(rows)
    for start in range(0, len(rows), 11):
        row = rows.slice(start, 1)
        own = ItemTexts.of([row], state, texts)
        assert own.hits.rows.tolist() == [whole.hits.rows[place[start]].tolist()]
    in_parts = ItemTexts.of([rows.slice(0, 5), rows.slice(5)], state, texts)
    assert in_parts.keys.equals(whole.keys)
    assert in_parts.ids.equals(whole.ids)
    assert np.array_equal(in_parts.vectors, whole.vectors)


def test_different_items_and_texts_have_different_keys():
    ids, titles = ["", "a", "aa", "a" * 8], [None, 0, 1]
    bags = [None, [], [1], [1, 2], [2, 1], [12]]
    cases = list(product(ids, titles, bags))
    columns = [pa.array(column) for column in zip(*cases, strict=True)]
    table = pa.table(dict(zip(("item_id", "title_key", "item_entity_keys"), columns, strict=True)))
    meant = [(item, title or 0, tuple(bag or ())) for item, title, bag in cases]
    keys = _keys(table).to_pylist()
    assert len(set(keys)) == len(set(meant)) == len(set(zip(keys, meant, strict=True)))
    assert _keys(table.slice(7, 9)).to_pylist() == keys[7:16]
