"""`embed-cold`: a language model reads the texts of cold and few-shot items and the intents of such users, and no other.

A vector belongs to one title or one entity; an item's is the mean over its title and entities, a user's the mean over the
intents of the row. So the cost grows with the vocabulary of what is cold, not with impressions.
"""

import time
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.console import err
from include.lake import Lake, lake
from include.settings import Settings
from training.cache import Keys, VectorCache
from training.embed_texts import encode_into
from training.encoders import language_model, llm_place
from training.tables import published_days, read_day
from training.texts import distinct_texts

BATCH = 16
ITEM_KEYS = ("title_key", "item_entity_keys")
USER_KEYS = ("query_entity_keys", "service_entity_keys", "bill_entity_keys")


def run(day: date, settings: Settings) -> dict[str, Any]:
    """Embeds the newest cold texts first, at most `llm_max_texts` of them, and returns the record it writes."""
    started = time.monotonic()
    store = lake()
    store.require("training", day, "Embedding cold texts")
    days = published_days(store, "training", day, settings.llm_lookback_days)
    cold = cold_keys(store, days)
    place = llm_place(settings)
    cached = VectorCache(store, place.slug).keys()
    missing = cold[~np.isin(cold, cached)]
    chosen = missing[: settings.llm_max_texts]
    texts = distinct_texts(store, days, "Embedding cold texts", among=np.sort(chosen))
    if texts.texts:
        encode_into(store, language_model(settings), texts, batch_size=BATCH, title="Embedding cold texts")
    skipped = len(missing) - len(texts.texts)
    if skipped:
        err.print(
            f"{skipped:,} cold texts are left out (CTR_LLM_MAX_TEXTS={settings.llm_max_texts}); they count as missing."
        )
    everything = sum(len(read_day(store, "texts", each, "Embedding cold texts", ["text_key"])) for each in days[-1:])
    record = {
        "day": str(day),
        "model": place.slug,
        "texts": len(cold),
        "cached": len(cold) - len(missing),
        "encoded": len(texts.texts),
        "skipped": skipped,
        "share": round(len(texts.texts) / everything, 5) if everything else 0.0,
        "seconds": round(time.monotonic() - started, 2),
    }
    store.write_record("embed_cold", day, record)
    return record


def cold_keys(store: Lake, days: Sequence[date]) -> Keys:
    """Distinct keys of the texts of cold items and users, newest day first; within a day items come before users."""
    columns = ["item_level", "user_level", *ITEM_KEYS, *USER_KEYS]
    found: list[Keys] = [np.empty(0, np.int64)]
    for day in reversed(days):
        rows = read_day(store, "training", day, "Embedding cold texts", columns)
        found += [_keys_of(rows, "item_level", ITEM_KEYS), _keys_of(rows, "user_level", USER_KEYS)]
    keys = np.concatenate(found)
    _, first = np.unique(keys, return_index=True)
    return keys[np.sort(first)]


def _keys_of(rows: pa.Table, level: str, columns: Sequence[str]) -> Keys:
    cold = rows.filter(pc.not_equal(rows[level], "warm")).select(list(columns))
    parts = []
    for name in columns:
        column = cold[name]
        values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        parts.append(values.drop_null().to_numpy())
    return np.unique(np.concatenate(parts)).astype(np.int64)
