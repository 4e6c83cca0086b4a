"""Exact vocabularies: an id has its own row of the embedding table, row 0 is for ids out of the vocabulary."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

OOV = 0


@dataclass(frozen=True)
class Vocabulary:
    """Ids in the order of their rows; `ids[n]` has row n + 1."""

    ids: pa.Array

    @classmethod
    def empty(cls) -> "Vocabulary":
        """Return a vocabulary without ids."""
        return cls(pa.array([], pa.string()))

    def __len__(self) -> int:
        """Return the number of rows of the table, with row 0."""
        return len(self.ids) + 1

    def encode(self, column: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int64]:
        """Return the row of each id `[rows] int64`; 0 for an id that is not in the vocabulary or null."""
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        positions = pc.index_in(column.cast(pa.string()), value_set=self.ids, skip_nulls=True)
        return pc.add(positions.fill_null(-1), 1).to_numpy(zero_copy_only=False).astype(np.int64)

    def extended(self, column: pa.ChunkedArray | pa.Array) -> "Vocabulary":
        """Return this vocabulary followed by the column's new ids, sorted: existing rows do not move."""
        distinct = pc.unique(column.drop_null().cast(pa.string()))
        new = distinct.filter(pc.invert(pc.is_in(distinct, value_set=self.ids)))
        return Vocabulary(pa.concat_arrays([self.ids, new.take(pc.sort_indices(new))]))
