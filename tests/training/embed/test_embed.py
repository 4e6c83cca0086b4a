from types import SimpleNamespace

import fabricate
import numpy as np
import pyarrow as pa
import pytest
import transformers

from include.errors import InvalidInputError, MissingDataError
from include.records import EmbedTexts
from include.settings import Settings
from include.text_key import text_key
from training.embed import embed_cold, embed_texts
from training.tables import read_day
from training.text import encoders
from training.text.vector_cache import VectorCache

pytestmark = pytest.mark.long

LAST = fabricate.day(4)


class CountingEncoder:
    """Stands in for a model: a vector of each text's length, and a list of what it was asked to read."""

    def __init__(self, slug: str) -> None:
        self.slug = slug
        self.read: list[str] = []

    def unknown_share(self, texts):
        return sum("文" in text for text in texts) / len(texts)

    def encode(self, texts, batch_size, advance):
        self.read += texts
        return np.array([[len(text), 1.0] for text in texts], np.float32)


@pytest.fixture
def empty(world):
    """A lake without any vector."""
    world.lake.fs.rm(f"{world.lake.root}/embeddings", recursive=True)
    return world


@pytest.fixture
def encoder(monkeypatch) -> CountingEncoder:
    stub = CountingEncoder(fabricate.ENCODER)
    monkeypatch.setattr(embed_texts, "text_encoder", lambda settings: stub)
    return stub


@pytest.fixture
def llm(monkeypatch) -> CountingEncoder:
    stub = CountingEncoder(fabricate.LLM)
    monkeypatch.setattr(embed_cold, "language_model", lambda settings: stub)
    return stub


def test_every_distinct_text_is_encoded_once(empty, encoder):
    first = embed_texts.run(LAST, empty.settings)
    assert len(encoder.read) == len(set(encoder.read)) == first.encoded == first.texts
    second = embed_texts.run(LAST, empty.settings)
    assert (second.encoded, second.cached) == (0, first.texts)
    assert len(encoder.read) == first.texts
    assert empty.lake.record(EmbedTexts, LAST) == second


def test_a_new_day_encodes_only_its_new_texts(empty, encoder):
    before = embed_texts.run(fabricate.day(3), empty.settings)
    after = embed_texts.run(LAST, empty.settings)
    assert after.cached == before.texts
    assert after.encoded == after.texts - before.texts


def test_the_vector_of_a_text_lies_under_its_key(empty, encoder):
    embed_texts.run(LAST, empty.settings)
    vectors, has_vector = VectorCache(empty.lake, fabricate.ENCODER).lookup(np.array([text_key("garden flowers")]))
    assert has_vector.all()
    assert vectors[0, 0] == len("garden flowers")


def test_texts_that_the_encoder_cannot_read_are_warned_about(empty, encoder, caplog):
    table = pa.table({"text_key": [text_key("中文")], "text": ["中文"], "kind": ["title"]})
    for number in range(5):
        fabricate.publish_table(empty.lake, "features", "texts", number, table)
    assert embed_texts.run(LAST, empty.settings).unknown_share == 1.0
    assert "CTR_TEXT_ENCODER" in caplog.text


def test_an_unpublished_day_is_named(empty, encoder):
    with pytest.raises(MissingDataError, match="2023-07-30"):
        embed_texts.run(fabricate.day(20), empty.settings)


def cold_texts_of(world, number: int) -> set[str]:
    """Texts of cold items and users of a day, row by row from the table."""
    rows = read_day(world.lake, "training", fabricate.day(number), "test").to_pylist()
    texts = read_day(world.lake, "texts", fabricate.day(number), "test")
    names = dict(zip(texts["text_key"].to_pylist(), texts["text"].to_pylist(), strict=True))
    keys: set[int] = set()
    for row in rows:
        if row["item_level"] != "warm":
            keys |= {row["title_key"], *row["item_entity_keys"]}
        if row["user_level"] != "warm":
            keys |= {*row["query_entity_keys"], *row["service_entity_keys"]}
    return {names[key] for key in keys}


def test_the_language_model_reads_only_texts_of_what_is_cold(empty, llm):
    record = embed_cold.run(LAST, empty.settings)
    assert set(llm.read) == set.union(*(cold_texts_of(empty, number) for number in (2, 3, 4)))
    all_texts = {
        text
        for number in range(5)
        for text in read_day(empty.lake, "texts", fabricate.day(number), "x")["text"].to_pylist()
    }
    assert len(set(llm.read)) < len(all_texts)
    assert record.encoded == len(llm.read)
    assert embed_cold.run(LAST, empty.settings).encoded == 0


def test_a_vector_is_filed_under_the_first_day_its_text_was_cold(empty, llm):
    embed_cold.run(LAST, empty.settings)
    through = VectorCache(empty.lake, fabricate.LLM).keys(through=fabricate.day(2))
    assert set(through.tolist()) == {text_key(text) for text in cold_texts_of(empty, 2)}


def test_the_limit_takes_newest_days_first_and_counts_the_rest(empty, llm):
    settings = empty.settings.model_copy(update={"llm_max_texts": 5})
    record = embed_cold.run(LAST, settings)
    assert (record.encoded, len(llm.read)) == (5, 5)
    assert record.skipped == record.texts - 5
    assert set(llm.read) <= cold_texts_of(empty, 4)


def test_texts_left_out_earlier_are_filed_under_the_later_day(empty, llm):
    few = empty.settings.model_copy(update={"llm_max_texts": 5})
    before = fabricate.day(3)
    embed_cold.run(before, few)
    cache = VectorCache(empty.lake, fabricate.LLM)
    cached = cache.keys(through=before)
    embed_cold.run(LAST, empty.settings)
    assert np.array_equal(cache.keys(through=before), cached)
    assert len(cache.keys(through=LAST)) > len(cached) + 5


def test_a_backfilled_day_takes_over_the_vectors_of_later_days(empty, llm):
    embed_cold.run(LAST, empty.settings)
    read = len(llm.read)
    later = VectorCache(empty.lake, fabricate.LLM).keys()
    early = embed_cold.run(fabricate.day(1), empty.settings)
    assert set(llm.read[read:]).isdisjoint(llm.read[:read])
    assert early.encoded == len(llm.read) - read
    through = VectorCache(empty.lake, fabricate.LLM).keys(through=fabricate.day(1))
    assert np.isin(through, later).any()


def test_the_bundled_encoder_knows_what_is_alike():
    encoder = encoders.text_encoder(Settings())
    texts = ["a goal in the football match", "soccer game result", "fresh bread from the oven", ""]
    vectors = encoder.encode(texts, 2, lambda rows: None)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
    assert encoder.unknown_share(["football match"]) == 0
    assert encoder.unknown_share(["登山鞋露营"]) > 0.2
    assert np.allclose(vectors[2], encoder.encode(texts[2:3], 1, lambda rows: None)[0], atol=0.02)


def test_bundled_language_model_unpacks_once_and_separates_texts(tmp_path, monkeypatch):
    settings = Settings(home=tmp_path)
    vectors = encoders.language_model(settings).encode(
        ["running shoes", "trail shoes", "tax advice"], 2, lambda rows: None
    )
    assert vectors.shape == (3, 576)
    centred = vectors - vectors.mean(axis=0)
    assert np.corrcoef(centred)[0, 1] > np.corrcoef(centred)[0, 2]
    monkeypatch.setattr(transformers, "GgufConfig", None)  # a second unpacking would fail
    again = encoders.language_model(settings).encode(["tax advice"], 1, lambda rows: None)
    assert np.allclose(again[0], vectors[2], rtol=0.1, atol=0.5)


def test_a_model_that_is_not_there_says_which_setting_to_change(tmp_path):
    missing = Settings(text_encoder=str(tmp_path / "none"), llm=str(tmp_path / "none.gguf"))
    with pytest.raises(InvalidInputError, match="CTR_TEXT_ENCODER"):
        encoders.text_encoder(missing)
    with pytest.raises(InvalidInputError, match="CTR_LLM"):
        encoders.resolve_llm(missing)


def test_a_chosen_model_has_a_cache_of_its_own():
    sources = [encoders.resolve_encoder(SimpleNamespace(text_encoder=name)).slug for name in ("", "a/bert", "b/bert")]
    assert len(set(sources)) == 3
    assert all("/" not in slug for slug in sources)
