"""The distinct items of some rows, with text vectors and neighbours: looked up once, in however many parts the rows come."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.data.id_memory import Floats, Hits, Indices
from training.data.state import State
from training.text.text_table import BAGS, ITEM_TEXTS, TextTable, bag_width

ITEM_COLUMNS = ("item_id", *ITEM_TEXTS)
COLUMNS = tuple(dict.fromkeys((*ITEM_COLUMNS, *BAGS)))
"""The columns of `training` that `ItemTexts.of` reads."""
_PART = 65_536
"""Texts whose vectors are in memory at a time."""


@dataclass(frozen=True)
class ItemTexts:
    """The distinct items of rows, and their distinct texts, in the order of their first row.

    An item whose rows differ in title or entities has several texts: the prediction of a row depends on no other row.
    `ids [items]`; `vectors [items, dim] float32`: the text of the item's first row, at length one; `keys [texts]`: items with
    their texts, as `_keys` writes them; `hits`: warm neighbours of each text; `widths`: columns of each bag of `BAGS`, wide
    enough for all rows.
    """

    ids: pa.Array
    vectors: Floats
    keys: pa.Array
    hits: Hits
    widths: dict[str, int]

    @classmethod
    def of(cls, shards: Iterable[pa.Table], state: State, texts: TextTable) -> "ItemTexts":
        """Return the items of rows in any number of shards with `COLUMNS`.

        For a model that reads no text it is empty, and no shard is read.
        """
        if not state.config.variant.text:
            ids, keys = pa.array([], pa.string()), pa.array([], pa.large_binary())
            return cls(ids, np.zeros((0, 0), np.float32), keys, Hits.none(0), {})
        first: list[pa.Table] = []
        widths = dict.fromkeys(BAGS, 1)
        for shard in shards:
            rows = pa.concat_tables([*first, shard.select(list(ITEM_COLUMNS))])
            first = [rows.take(_first_places(_keys(rows)))]
            widths = {name: max(width, bag_width(shard[name])) for name, width in widths.items()}
        (rows,) = first
        ids = rows["item_id"].combine_chunks()
        of_item = _first_places(ids)
        is_first = np.zeros(len(rows), bool)
        is_first[of_item] = True
        vectors, hits = [], []
        for start in range(0, max(len(rows), 1), _PART):
            part = rows.slice(start, _PART)
            title = texts.rows_of(part["title_key"].fill_null(0).to_numpy())
            found = texts.item_vectors(title, texts.bag(part["item_entity_keys"], widths["item_entity_keys"]))
            vectors.append(found[is_first[start : start + _PART]])
            own = state.items.encode(part["item_id"])
            hits.append(state.index.search(found, own) if state.config.variant.llm else Hits.none(len(part)))
        return cls(ids.take(pa.array(of_item)), np.concatenate(vectors), _keys(rows), Hits.joined(hits), widths)

    def places(self, rows: pa.Table) -> Indices:
        """Return the place among `keys` of the text of each row `[n]`; the rows are of those that these are of."""
        return np.asarray(pc.index_in(_keys(rows), value_set=self.keys).to_numpy(), np.int64)


def _keys(rows: pa.Table) -> pa.Array:
    """Return item and text of each row as bytes: title, number of entities, entities, item."""
    kind = pa.large_binary()
    lists = rows["item_entity_keys"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    entities = pc.list_flatten(lists).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.concatenate([[0], lengths.cumsum()]) * 8
    buffers = [None, pa.py_buffer(ends.astype(np.int64)), pa.py_buffer(np.ascontiguousarray(entities))]
    return pc.binary_join_element_wise(
        _as_bytes(rows["title_key"].fill_null(0).to_numpy()),
        _as_bytes(lengths),
        pa.Array.from_buffers(kind, len(rows), buffers),
        rows["item_id"].combine_chunks().cast(kind),
        pa.scalar(b"", kind),
    )


def _as_bytes(numbers: Indices) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(numbers.astype(np.int64)))
    return pa.Array.from_buffers(pa.binary(8), len(numbers), [None, data]).cast(pa.large_binary())


def _first_places(values: pa.Array) -> Indices:
    """Return the place of the first of each distinct value, in order."""
    codes = values.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return np.unique(codes, return_index=True)[1].astype(np.int64)
