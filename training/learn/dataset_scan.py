"""The first pass over the days: ids, text keys and statistics that a model needs before its first step."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.lake.lake import Lake
from training.data.dense import columns_of, transformed
from training.data.row_sample import KEY, RowSample
from training.data.standardiser import SAMPLE_ROWS, Standardiser
from training.data.vocabulary import Vocabulary
from training.learn.artifact import Predictor, text_keys
from training.model_variants import ModelVariant
from training.tables import NEEDED_FOR, read_shards
from training.text.text_table import ITEM_TEXTS, TEXT_KEYS, keys_in
from training.text.vector_cache import Keys

IDS = ("user_id", "item_id")


@dataclass(frozen=True)
class DatasetScan:
    """Ids, text keys and rows of the days; for a model that starts from scratch also the standardiser of its inputs and
    the keys of its items' texts."""

    users: Vocabulary
    items: Vocabulary
    standardiser: Standardiser | None
    keys: Keys
    item_keys: Keys
    rows: int


def scan_dataset(
    lake: Lake, days: Sequence[date], base: Predictor | None, variant: ModelVariant, shard_rows: int
) -> DatasetScan:
    """Scan the days once, a shard at a time, for a model of the variant that continues `base` or starts from scratch."""
    users, items = (base.state.users, base.state.items) if base else (Vocabulary.empty(), Vocabulary.empty())
    inputs = None if base else RowSample(SAMPLE_ROWS, columns_of())
    rows = 0
    keys = np.empty(0, np.int64)
    item_keys = np.empty(0, np.int64)
    columns = (*IDS, *(TEXT_KEYS if variant.text else ()), *((KEY, *columns_of()) if inputs else ()))
    for day in days:
        seen = dict.fromkeys(IDS, pa.array([], pa.string()))
        for shard in read_shards(lake, "training", day, NEEDED_FOR, shard_rows, columns):
            seen = {name: _distinct(ids, shard[name]) for name, ids in seen.items()}
            keys = np.union1d(keys, text_keys(shard, variant))
            rows += len(shard)
            if inputs:
                inputs.add(shard)
            if base is None and variant.text:
                item_keys = np.union1d(item_keys, keys_in(shard, ITEM_TEXTS))
        users = users.extended(seen["user_id"])
        items = items.extended(seen["item_id"])
    standardiser = Standardiser.fit(transformed(inputs.table())) if inputs else None
    return DatasetScan(users, items, standardiser, keys, item_keys, rows)


def _distinct(ids: pa.Array, column: pa.ChunkedArray) -> pa.Array:
    """Return these ids and those of the column, each once."""
    return pc.unique(pa.chunked_array([ids, *column.cast(pa.string()).chunks]))
