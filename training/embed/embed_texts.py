"""`embed-texts`: encodes every distinct text of the training window once."""

import logging
import time
from datetime import date

import numpy as np

from include.lake.lake import Lake, get_lake
from include.records import EmbedTexts
from include.settings import Settings
from training.embed.distinct_texts import Texts, distinct_texts
from training.learn.warm_start import variants_in_use
from training.progress import progress
from training.tables import published_days
from training.text.encoders import Encoder, resolve_encoder, text_encoder
from training.text.vector_cache import VectorCache

log = logging.getLogger(__name__)

BATCH = 64
PART = 8192
MAX_UNKNOWN_SHARE = 0.05
UNKNOWN_SAMPLE = 2000


def run(day: date, settings: Settings) -> EmbedTexts:
    """Encode the texts of the training window up to `day` that are not cached, and return the record that it writes.

    Encodes nothing where neither the model to train nor the champion reads text.
    """
    started = time.monotonic()
    lake = get_lake()
    lake.require("features", day, "Embedding texts")
    read = any(variant.text for variant in variants_in_use(settings))
    days = published_days(lake, "texts", day, settings.train_days) if read else []
    texts = distinct_texts(lake, days, "Embedding texts")
    source = resolve_encoder(settings)
    missing = without_cached(texts, VectorCache(lake, source.slug))
    unknown = None  # nothing new was read
    if missing.texts:
        encoder = text_encoder(settings)
        unknown = round(encoder.unknown_share(_sample(missing.texts, settings.seed)), 5)
        warn_unknown(unknown, source.slug)
        encode_into(lake, encoder, missing, day, batch_size=BATCH)
    record = EmbedTexts(
        day=day,
        model=source.slug,
        texts=len(texts.texts),
        cached=len(texts.texts) - len(missing.texts),
        encoded=len(missing.texts),
        skipped=0,
        unknown_share=unknown,
        seconds=round(time.monotonic() - started, 2),
    )
    lake.write_record(record)
    return record


def without_cached(texts: Texts, cache: VectorCache) -> Texts:
    """Return the texts that the cache has no vector for."""
    rows = np.flatnonzero(~np.isin(texts.keys, cache.keys()))
    return Texts(texts.keys[rows], [texts.texts[row] for row in rows])


def encode_into(lake: Lake, encoder: Encoder, texts: Texts, day: date, *, batch_size: int) -> None:
    """Encode texts into the encoder's cache for a log day, part by part, with a progress bar."""
    cache = VectorCache(lake, encoder.slug)
    with progress() as bar:
        task = bar.add_task(f"Embedding texts with {encoder.slug}", total=len(texts.texts))
        for start in range(0, len(texts.texts), PART):
            part = slice(start, start + PART)
            vectors = encoder.encode(texts.texts[part], batch_size, lambda rows: bar.advance(task, rows))
            cache.append(texts.keys[part], vectors, day)


def warn_unknown(share: float, slug: str) -> None:
    """Write a warning where the encoder does not know the language of the texts."""
    if share > MAX_UNKNOWN_SHARE:
        log.warning(
            "The encoder '%s' does not know %.1f%% of the tokens, so its vectors are poor. "
            "Next: set CTR_TEXT_ENCODER to an encoder of the texts' language, for example bert-base-chinese.",
            slug,
            100 * share,
        )


def _sample(texts: list[str], seed: int) -> list[str]:
    if len(texts) <= UNKNOWN_SAMPLE:
        return texts
    return [texts[row] for row in np.random.default_rng(seed).choice(len(texts), UNKNOWN_SAMPLE, replace=False)]
