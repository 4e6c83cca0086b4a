"""The distinct items of some rows, with text vectors and neighbours: looked up once, in however many parts the rows come."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from training.data.id_memory import Floats, Hits
from training.data.state import State
from training.text.text_table import BAGS, ITEM_TEXTS, TextTable, bag_width

ITEM_COLUMNS = ("item_id", *ITEM_TEXTS)
COLUMNS = tuple(dict.fromkeys((*ITEM_COLUMNS, *BAGS)))
"""The columns of `training` that `ItemTexts.of` reads."""


@dataclass(frozen=True)
class ItemTexts:
    """The distinct items of rows, in the order of their first row, whose text is taken for all rows of the item.

    `ids [m]`; `vectors [m, dim] float32`: the text at length one; `hits`: warm neighbours of each; `widths`: columns of each bag
    of `BAGS`, wide enough for all rows.
    """

    ids: pa.Array
    vectors: Floats
    hits: Hits
    widths: dict[str, int]

    @classmethod
    def of(cls, shards: Iterable[pa.Table], state: State, texts: TextTable) -> "ItemTexts":
        """Return the items of rows in any number of shards with `COLUMNS`.

        For a model that reads no text it is empty, and no shard is read.
        """
        if not state.config.variant.text:
            return cls(pa.array([], pa.string()), np.zeros((0, 0), np.float32), Hits.none(0), {})
        first: list[pa.Table] = []
        widths = dict.fromkeys(BAGS, 1)
        for shard in shards:
            first = [_first_rows(pa.concat_tables([*first, shard.select(list(ITEM_COLUMNS))]))]
            widths = {name: max(width, bag_width(shard[name])) for name, width in widths.items()}
        (items,) = first
        ids = items["item_id"].combine_chunks()
        title = texts.rows_of(items["title_key"].fill_null(0).to_numpy())
        entities = texts.bag(items["item_entity_keys"], widths["item_entity_keys"])
        vectors = texts.item_vectors(title, entities)
        has_neighbours = state.config.variant.llm
        hits = state.index.search(vectors, state.items.encode(ids)) if has_neighbours else Hits.none(len(ids))
        return cls(ids, vectors, hits, widths)


def _first_rows(table: pa.Table) -> pa.Table:
    """Return the first row of each item."""
    items = table["item_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    return table.take(np.unique(items, return_index=True)[1])
