"""A sample of rows that come in parts: bounded in memory, the same in whatever order and parts they come."""

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

KEY = "event_id"
_HASH = "_hash"


def sample(parts: Iterable[pa.Table], rows: int, columns: Sequence[str]) -> pa.Table:
    """Return the `columns` of the `rows` rows with the lowest hash of their event id, of tables that also hold it.

    Bottom-k sampling (Cohen and Kaplan, "Summarizing Data Using Bottom-k Sketches", PODC 2007): uniform, without a
    seed, and a rerun takes the same rows. Without any row, the columns are of type null.
    """
    smallest: list[pa.Table] = []
    for part in filter(len, parts):
        hashes = hash_array(part[KEY].to_numpy(), categorize=False)
        pool = pa.concat_tables([*smallest, part.select(list(columns)).append_column(_HASH, pa.array(hashes))])
        smallest = [pool.take(pc.select_k_unstable(pool, rows, [(_HASH, "ascending")]))]
    return smallest[0].drop_columns([_HASH]) if smallest else pa.table({name: pa.nulls(0) for name in columns})
