"""A sample of rows that come in parts: bounded in memory, the same in whatever order and parts they come."""

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

KEY = "event_id"
_HASH = "_hash"


class RowSample:
    """The `columns` of the `rows` rows with the lowest hash of their event id.

    Bottom-k sampling (Cohen and Kaplan, "Summarizing Data Using Bottom-k Sketches", PODC 2007): uniform, without a
    seed, and a rerun takes the same rows.
    """

    def __init__(self, rows: int, columns: Sequence[str]) -> None:
        self._rows = rows
        self._columns = list(columns)
        self._smallest: pa.Table | None = None

    def add(self, part: pa.Table) -> None:
        """Add the rows of a table with the columns and `KEY`."""
        if not len(part):
            return
        hashes = pa.array(hash_array(part[KEY].to_numpy(), categorize=False))
        pool = part.select(self._columns).append_column(_HASH, hashes)
        if self._smallest is not None:
            if len(self._smallest) == self._rows:
                pool = pool.filter(pc.less(hashes, self._smallest[_HASH][-1]))
            pool = pa.concat_tables([self._smallest, pool])
        self._smallest = pool.take(pc.select_k_unstable(pool, self._rows, [(_HASH, "ascending")]))

    def table(self) -> pa.Table:
        """Return the rows, by their hash; without any, the columns are of type null."""
        if self._smallest is None:
            return pa.table({name: pa.nulls(0) for name in self._columns})
        return self._smallest.drop_columns([_HASH])


def sample(parts: Iterable[pa.Table], rows: int, columns: Sequence[str]) -> pa.Table:
    """Return the `RowSample` of all the parts."""
    chosen = RowSample(rows, columns)
    for part in parts:
        chosen.add(part)
    return chosen.table()
