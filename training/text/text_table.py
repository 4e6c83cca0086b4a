"""The text vectors that some rows need, in memory: one table, addressed by row numbers; row 0 is a missing text."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.text.vector_cache import Keys, VectorCache
from training.text.whitening import Whitening, unit

BAGS = ("item_entity_keys", "query_entity_keys", "service_entity_keys", "bill_entity_keys")
TEXT_KEYS = ("title_key", *BAGS)
"""The columns of `training` that hold keys of texts."""
ITEM_TEXTS = TEXT_KEYS[:2]
BAG_LENGTH = 24
"""At most this many entities of a sequence are read, the last ones."""


@dataclass(frozen=True)
class TextTable:
    """Whitened vectors by text key.

    `keys [n] int64` sorted; by row, zero where missing: `text [n + 1, dim] float32` of the encoder and `llm [n + 1, dim]
    float32` of the language model, whitened, and `unit [n + 1, dim] float32`, the encoder's at length one for cosines;
    `has_text`, `has_llm [n + 1] bool`.
    """

    keys: Keys
    text: npt.NDArray[np.float32]
    llm: npt.NDArray[np.float32]
    unit: npt.NDArray[np.float32]
    has_text: npt.NDArray[np.bool_]
    has_llm: npt.NDArray[np.bool_]

    @classmethod
    def load(
        cls,
        keys: Keys,
        caches: tuple[VectorCache, VectorCache],
        whitening: tuple[Whitening, Whitening],
        llm_through: date | None,
    ) -> "TextTable":
        """Return the vectors of sorted, distinct keys from the caches of encoder and language model, whitened.

        Every text has an encoder vector, but only texts that were cold have the other: `llm_through` is the last day
        that counts.
        """
        whiten_text, whiten_llm = whitening
        vectors, has_text = _whitened(keys, caches[0], whiten_text)
        llm_vectors, has_llm = _whitened(keys, caches[1], whiten_llm, llm_through)
        return cls(keys, vectors, llm_vectors, whiten_text.directions(vectors), has_text, has_llm)

    @property
    def missing(self) -> int:
        """The number of texts without a vector in the encoder's cache: they count as no text."""
        return int((~self.has_text[1:]).sum())

    def rows_of(self, keys: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the row of each key in the table `[…] int64`; 0 where there is none or the encoder has no vector for it."""
        if len(self.keys) == 0:
            return np.zeros(keys.shape, np.int64)
        positions = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where((self.keys[positions] == keys) & self.has_text[positions + 1], positions + 1, 0)

    def bag(self, column: pa.ChunkedArray, width: int) -> npt.NDArray[np.int64]:
        """Return table rows for lists of keys `[rows, width] int64`, padded with 0; `width` is `bag_width` of the column."""
        lists = column.combine_chunks()
        lengths = _lengths(lists)
        offsets = lists.offsets.to_numpy().astype(np.int64)
        values = lists.values.slice(offsets[0], offsets[-1] - offsets[0])
        rows = np.append(self.rows_of(values.fill_null(0).to_numpy(zero_copy_only=False)), 0)
        steps = np.arange(width)
        picks = (offsets[1:] - offsets[0] - lengths)[:, None] + steps
        inside = steps < lengths[:, None]
        return rows[np.where(inside, picks, -1)]

    def item_vectors(self, title: npt.NDArray[np.int64], entities: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return items' text at length one, for cosines, from their title's row `[n]` and their entities' rows `[n, …]`.

        `[n, dim] float32`; zero for an item without text.
        """
        count = np.maximum((entities > 0).sum(axis=1, keepdims=True), 1)
        return unit(self.unit[title] + self.unit[entities].sum(axis=1) / count)


def keys_in(rows: pa.Table, columns: Sequence[str] = TEXT_KEYS) -> Keys:
    """Return the distinct text keys of the rows, sorted."""
    parts = []
    for name in columns:
        column = rows[name]
        values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        parts.append(pc.unique(values.drop_null()).to_numpy())
    return np.unique(np.concatenate(parts)).astype(np.int64)


def bag_width(column: pa.ChunkedArray) -> int:
    """Return the columns that a bag of these lists takes: the longest list, at most `BAG_LENGTH` and at least 1."""
    return max(int(_lengths(column).max(initial=0)), 1)


def _lengths(lists: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    return np.minimum(lengths, BAG_LENGTH).astype(np.int64)


def _whitened(
    keys: Keys, cache: VectorCache, whitening: Whitening, through: date | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return whitened vectors by row; row 0 and texts without a vector are zero, the mean of the whitened space."""
    table = np.zeros((len(keys) + 1, whitening.dim), np.float32)
    if not whitening.fitted:
        return table, np.zeros(len(keys) + 1, bool)
    vectors, has_vector = cache.lookup(keys, through)
    if has_vector.any():
        table[1:][has_vector] = whitening.apply(vectors[has_vector])
    return table, np.concatenate([[False], has_vector])
