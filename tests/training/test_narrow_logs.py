"""A log without text, without deep features, with one scene or with sixty: a night runs with the defaults, and the model
leaves out what is not there."""

from datetime import date

import fabricate
import numpy as np
import pyarrow as pa
import pytest

from include.lake.lake import Lake, get_lake
from include.registry import registry
from include.schemas import DEEP_FEATURES
from include.settings import Settings
from training.embed import embed_cold, embed_texts
from training.evaluate import evaluation
from training.gate import gate
from training.learn import train
from training.learn.artifact import Predictor, load
from training.learn.left_out import _with_ranges
from training.monitor import monitor
from training.report import report
from training.tables import read_day
from training.text.text_table import TEXT_KEYS

pytestmark = pytest.mark.long

DAYS = 5
ROWS = 600
SIXTY = tuple(f"s{number}" for number in range(60))
LOG = fabricate.impressions(DAYS, ROWS)
TEXTS = pa.schema([("text_key", pa.int64()), ("text", pa.string()), ("kind", pa.string())])
NO_DEEP = dict.fromkeys(DEEP_FEATURES, np.nan)


def no_text(lake: Lake, number: int) -> None:
    """Publishes a day without any text."""
    fabricate.publish(lake, LOG, number, **{name: [None] * ROWS for name in TEXT_KEYS})
    fabricate.publish_table(lake, "features", "texts", number, TEXTS.empty_table())


def no_deep_features(lake: Lake, number: int) -> None:
    """Publishes a day whose deep features are all null."""
    fabricate.publish(lake, LOG, number, **NO_DEEP)


def neither(lake: Lake, number: int) -> None:
    """Publishes a day without text and deep features."""
    fabricate.publish(lake, LOG, number, **{name: [None] * ROWS for name in TEXT_KEYS}, **NO_DEEP)
    fabricate.publish_table(lake, "features", "texts", number, TEXTS.empty_table())


def one_scene(lake: Lake, number: int) -> None:
    """Publishes a day of one scene."""
    fabricate.publish(lake, LOG, number, scene="s0")


def sixty_scenes(lake: Lake, number: int) -> None:
    """Publishes a day of sixty scenes, of which the last have a row or two."""
    shares = 1 / np.arange(1, 61)
    scene = np.random.default_rng(number).choice(SIXTY, size=ROWS, p=shares / shares.sum())
    fabricate.publish(lake, LOG, number, scene=scene)


SHAPES = {
    no_text: fabricate.SCENES,
    no_deep_features: fabricate.SCENES,
    neither: fabricate.SCENES,
    one_scene: ("s0",),
    sixty_scenes: SIXTY,
}


@pytest.fixture(params=SHAPES, ids=lambda shape: shape.__name__)
def shape(request):
    """One of the shapes of a log."""
    return request.param


@pytest.fixture
def settings(home, shape) -> Settings:
    """The defaults, but for the scenes, small steps and few resamples."""
    return Settings(home=home, scenes=SHAPES[shape], batch_size=64, bootstrap_resamples=100)


@pytest.fixture
def lake(settings, shape) -> Lake:
    """A lake of ten empty days and five with rows."""
    lake = get_lake()
    fabricate.publish_empty(lake, LOG, -10)
    for number in range(DAYS):
        shape(lake, number)
    fabricate.fake_vectors(lake, LOG)
    fabricate.fake_vectors(lake, LOG, fabricate.LLM, dim=96, seed=2)
    return lake


def night(day: date, settings: Settings) -> Predictor:
    """Runs every training task of a night, promotes the candidate and returns it."""
    embed_texts.run(day, settings)
    embed_cold.run(day, settings)
    version = train.run(day, settings).version
    evaluation.run(day, settings)
    assert gate.run(day, True, settings).verdict in ("promote", "hold", "reject")
    drift = monitor.run(day, settings).drift
    assert not [column for column in drift.features if column.name in DEEP_FEATURES and column.band != "stable"]
    assert report.run(day, settings)["version"] == version
    registry.promote(version, reason="test", by="test")
    return load(registry.download(version))


def test_two_nights_run_and_the_second_continues(lake, settings, shape, caplog, monkeypatch):
    def refuse(_: Settings) -> None:
        raise AssertionError("nothing is to be encoded")

    monkeypatch.setattr(embed_texts, "text_encoder", refuse)
    monkeypatch.setattr(embed_cold, "language_model", refuse)
    caplog.set_level("INFO", logger="training")
    first = night(fabricate.day(3), settings)
    second = night(fabricate.day(4), settings)
    assert registry.get(2).base_version == 1
    config = first.state.config
    assert config.model == "ple-alpha-llm"
    assert config.variant.text is config.variant.content is config.variant.llm is (shape not in (no_text, neither))
    assert (config.encoder == "") is (shape in (no_text, neither))
    deep = 0 if shape in (no_deep_features, neither) else len(DEEP_FEATURES) - 1
    assert first.state.memory.habits.shape[1] == second.state.memory.habits.shape[1] == deep
    probability = second.predict(read_day(lake, "training", fabricate.day(4), "a test"), lake).probability
    assert np.isfinite(probability).all()
    said = [message for message in caplog.messages if message.startswith("Left out of the model")]
    assert len(said) == 2, "once a night"
    assert all(("text, " in message) is (shape in (no_text, neither)) for message in said)
    assert all(("deep_features_0 to deep_features_26" in message) is (deep == 0) for message in said)
    assert not [record for record in caplog.records if record.levelname == "WARNING" and "text" in record.message]


@pytest.mark.parametrize("shape", [no_text], ids=["no_text"])
def test_a_log_that_gets_texts_starts_from_scratch_with_them(lake, settings, shape, caplog):
    night(fabricate.day(3), settings)
    fabricate.publish(lake, LOG, 3)
    record = train.run(fabricate.day(4), settings)
    assert record.base_version is None
    assert "whose items had no texts" in caplog.text
    assert load(registry.download(record.version)).state.config.variant.text


@pytest.mark.parametrize("shape", [no_text], ids=["no_text"])
def test_one_text_for_all_items_is_as_good_as_none(lake, settings, shape):
    for number in range(3):
        fabricate.publish(lake, LOG, number, title_key=7, item_entity_keys=[None] * ROWS)
    predictor = train.fit(lake, [fabricate.day(number) for number in range(3)], settings, None).predictor
    assert not predictor.state.config.has_text


def test_runs_of_left_out_features_are_named_as_one():
    names = ["user_ctr_trend", "deep_features_1", "deep_features_2", "deep_features_4"]
    assert _with_ranges(names) == ["user_ctr_trend", "deep_features_1 to deep_features_2", "deep_features_4"]
