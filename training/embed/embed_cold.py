"""`embed-cold`: a language model encodes the texts of cold and few-shot items and the intents of such users, and no others.

A vector belongs to one title or one entity; an item's is the mean over its title and entities, a user's the mean over
the intents of the row. So the cost grows with the vocabulary of cold texts, not with impressions. A vector is stored
under the first day on which its text was cold, so that a candidate reads what was cold before its day, and nothing
later.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.lake.lake import Lake, get_lake
from include.records import EmbedCold
from include.settings import Settings
from training.embed.distinct_texts import distinct_texts
from training.embed.embed_texts import encode_into
from training.learn.warm_start import variants_in_use
from training.tables import published_days, read_day
from training.text.encoders import language_model, resolve_llm
from training.text.text_table import BAGS, ITEM_TEXTS
from training.text.vector_cache import Keys, VectorCache

log = logging.getLogger(__name__)

BATCH = 16
NEEDED_FOR = "Embedding cold texts"
USER_KEYS = BAGS[1:]


def run(day: date, settings: Settings) -> EmbedCold:
    """Embed the newest cold texts first, at most `llm_max_texts` of them, and return the record that it writes.

    Embeds nothing where neither the model to train nor the champion reads a language model's vectors.
    """
    started = time.monotonic()
    lake = get_lake()
    lake.require("training", day, NEEDED_FOR)
    read = any(variant.llm for variant in variants_in_use(settings))
    days = published_days(lake, "training", day, settings.llm_lookback_days) if read else []
    cold = cold_texts(lake, days).filed_after(_last_run(lake, day), day)
    source = resolve_llm(settings)
    cache = VectorCache(lake, source.slug)
    needed = cold.without(cache)
    _adopt(cache, needed)
    missing = needed.among(~np.isin(needed.keys, cache.keys()))
    chosen = missing.among(np.arange(len(missing.keys)) < settings.llm_max_texts)
    if len(chosen.keys):
        encoder = language_model(settings)
        for first in sorted(set(chosen.first)):
            keys = np.sort(chosen.keys[chosen.first == first])
            encode_into(lake, encoder, distinct_texts(lake, days, NEEDED_FOR, among=keys), first, batch_size=BATCH)
    skipped = len(missing.keys) - len(chosen.keys)
    if skipped:
        log.warning(
            "%s cold texts are skipped (CTR_LLM_MAX_TEXTS=%d); they count as missing.",
            f"{skipped:,}",
            settings.llm_max_texts,
        )
    everything = len(read_day(lake, "texts", day, NEEDED_FOR, ["text_key"]))
    record = EmbedCold(
        day=day,
        model=source.slug,
        texts=len(cold.keys),
        cached=len(cold.keys) - len(missing.keys),
        encoded=len(chosen.keys),
        skipped=skipped,
        share=round(len(chosen.keys) / max(everything, 1), 5),
        seconds=round(time.monotonic() - started, 2),
    )
    lake.write_record(record)
    return record


@dataclass(frozen=True)
class ColdTexts:
    """Texts of cold items and users, newest first: `keys [n] int64` and the `first [n]` day that needs each."""

    keys: Keys
    first: npt.NDArray[np.object_]

    def among(self, rows: npt.NDArray[np.bool_]) -> "ColdTexts":
        """Return those of the rows."""
        return ColdTexts(self.keys[rows], self.first[rows])

    def filed_after(self, ran: date | None, day: date) -> "ColdTexts":
        """Return the same, with `day` as the first day of those of days up to `ran`, the last run: the vectors that
        models were trained on and evaluated with must not change, or they could not be reproduced."""
        if ran is None:
            return self
        return ColdTexts(self.keys, np.array([day if first <= ran else first for first in self.first], object))

    def without(self, cache: VectorCache) -> "ColdTexts":
        """Return those that the cache does not hold for their first day or an earlier one."""
        held = np.zeros(len(self.keys), bool)
        for first in set(self.first):
            held |= (self.first == first) & np.isin(self.keys, cache.keys(through=first))
        return self.among(~held)


def cold_texts(lake: Lake, days: Sequence[date]) -> ColdTexts:
    """Return the texts of what was cold on any of the days, newest day first; within a day items come before users."""
    first: dict[int, date] = {}
    order: list[Keys] = [np.empty(0, np.int64)]
    for day in reversed(days):
        rows = read_day(lake, "training", day, NEEDED_FOR, ["item_level", "user_level", *ITEM_TEXTS, *USER_KEYS])
        order += [_keys_of(rows, "item_level", ITEM_TEXTS), _keys_of(rows, "user_level", USER_KEYS)]
        first |= dict.fromkeys(np.concatenate(order[-2:]).tolist(), day)
    keys = np.concatenate(order)
    keys = keys[np.sort(np.unique(keys, return_index=True)[1])]
    return ColdTexts(keys, np.array([first[key] for key in keys.tolist()], object))


def _last_run(lake: Lake, day: date) -> date | None:
    """Return the newest earlier day whose run embedded anything; None where that run was of a model without such vectors."""
    last = max((earlier for earlier in lake.record_days(EmbedCold) if earlier < day), default=None)
    record = lake.record(EmbedCold, last) if last else None
    return last if record and record.texts else None


def _adopt(cache: VectorCache, needed: ColdTexts) -> None:
    """Copy vectors that only a later day's part holds (a backfill of an earlier day) to the day that needs them now."""
    keys = np.sort(needed.keys)
    vectors, is_cached = cache.lookup(keys)
    for first in set(needed.first):
        rows = is_cached & np.isin(keys, needed.keys[needed.first == first])
        if rows.any():
            cache.append(keys[rows], vectors[rows], first)


def _keys_of(rows: pa.Table, level: str, columns: Sequence[str]) -> Keys:
    cold = rows.filter(pc.not_equal(rows[level], "warm")).select(list(columns))
    parts = []
    for name in columns:
        column = cold[name]
        values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        parts.append(values.drop_null().to_numpy())
    return np.unique(np.concatenate(parts)).astype(np.int64)
