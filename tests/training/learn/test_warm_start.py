"""From what a candidate starts: what a promoted version was fitted on, and for, decides whether it is continued."""

import fabricate
import numpy as np
import pytest

from include.lake.lake import Lake
from include.records import Train
from include.registry import registry
from include.registry.outdated import outdated_versions
from include.settings import Settings
from training.data.dense import NAMES
from training.evaluate import evaluation
from training.gate import gate
from training.learn import train, warm_start
from training.learn.artifact import load
from training.text.vector_cache import VectorCache

pytestmark = pytest.mark.long

LAST = fabricate.day(4)
RISING = "user_ctr_trend"
SIX_SCENES = (*fabricate.SCENES, "5")


def trained(world, **changed) -> Train:
    """The record of the last day's candidate, which needs not be good: it is trained in few steps."""
    return train.run(LAST, world.settings.model_copy(update={"batch_size": 600, **changed}))


def aged(world, days: int) -> None:
    """Makes the lake older than its first rows."""
    fabricate.publish_empty(world.lake, world.log, -days)


def waken(world) -> None:
    """A feature that was constant varies in the rows of the last day before the evaluation."""
    rows = int((world.log.number == 3).sum())
    fabricate.publish(world.lake, world.log, 3, **{RISING: np.linspace(-1, 1, rows)})


def test_the_training_window_is_bounded(world):
    settings = world.settings.model_copy(update={"train_days": 2})
    assert warm_start.days_to_learn(world.lake, LAST, settings) == [fabricate.day(2), fabricate.day(3)]


def test_a_base_fitted_on_a_lakes_first_day_is_not_continued(world, promoted, caplog):
    """Features that were constant on that day would never count."""
    first = promoted(fabricate.day(1))
    second = trained(world)
    assert (second.base_version, second.days, second.trained_from) == (None, 4, fabricate.day(0))
    assert "Starting from scratch: the statistics of version 1 were fitted on 2023-07-10..2023-07-10" in caplog.text
    scales = [load(registry.download(record.version)).state.standardiser.scale for record in (first, second)]
    place = NAMES.index("user_impressions_7d")
    assert scales[0][place] == 0
    assert scales[1][place] > 0


def test_a_lake_with_a_week_of_history_starts_from_nothing_once(home):
    """As the demo does: seven days of history, then nights that each continue the one before."""
    log, lake, settings = fabricate.impressions(9, 150), Lake(f"file://{home}/lake"), Settings(home=home)
    for number in range(9):
        # A week compared with all days: nothing differs until the lake is older than a week.
        trend = np.linspace(-1, 1, 150) if number > 7 else 0.0
        fabricate.publish(lake, log, number, **{RISING: trend})
    fabricate.fake_vectors(lake, log)
    nights = []
    for number in (7, 8, 9):
        nights.append(train.run(fabricate.day(number), settings))
        registry.promote(nights[-1].version, reason="test", by="test")
    assert [night.base_version for night in nights] == [None, 1, 2]
    assert [night.days for night in nights] == [7, 1, 1]


def test_a_base_is_judged_by_the_days_of_its_statistics(world, promoted):
    """A chain that began on a lake's first days stays as short-sighted as its first version."""
    first = promoted(fabricate.day(2))
    version = registry.get(first.version)
    folder = registry.download(version.version)
    later = registry.register(
        folder,
        log_day=fabricate.day(3),
        trained_from=version.trained_from,
        trained_through=fabricate.day(2),
        base_version=version.version,
        builds={},
        content_hash="continued",
        metrics={},
        params={},
    )
    registry.promote(later.version, reason="test", by="test")
    assert trained(world).base_version is None
    aged(world, 5)
    assert trained(world).base_version == later.version


def test_a_once_constant_feature_that_varies_now_is_switched_on(world, promoted, caplog):
    aged(world, 10)
    promoted(fabricate.day(2))
    waken(world)
    record = trained(world)
    assert (record.base_version, record.days) == (None, 4)
    assert f"ignores features that were constant when it was fitted and vary now: {RISING}." in caplog.text
    scale = load(registry.download(record.version)).state.standardiser.scale
    assert scale[NAMES.index(RISING)] > 0
    registry.promote(record.version, reason="test", by="test")
    following = warm_start.start_of(world.lake, fabricate.day(5), world.settings, scratch=False)
    assert (following.version.version, following.days) == (record.version, [LAST])


def test_a_feature_that_varies_in_week_two_waits_for_its_end(world, promoted):
    """The base is continued until the second week of the lake has ended."""
    aged(world, 9)
    first = promoted(fabricate.day(2))
    waken(world)
    assert trained(world).base_version == first.version


def corrected(world, number: int, share: float) -> None:
    """Publishes a day again, with the other label in this share of its rows."""
    log = world.log.copy()
    rows = log.index[log.number == number]
    wrong = rows[: round(len(rows) * share)]
    log.loc[wrong, "label"] = 1 - log.loc[wrong, "label"]
    fabricate.publish(world.lake, log, number)


@pytest.fixture
def chain(world, promoted):
    """Version 1 of days 0 and 1, and version 2, which continues it with day 2; both were promoted."""
    aged(world, 5)
    promoted(fabricate.day(2))
    train.run(fabricate.day(3), world.settings.model_copy(update={"batch_size": 600}))
    registry.promote(2, reason="test", by="test")
    assert registry.get(2).base_version == 1


def test_an_outdated_version_is_not_continued(world, chain, caplog):
    corrected(world, 2, 0.1)
    start = warm_start.start_of(world.lake, LAST, world.settings, scratch=False)
    assert (start.version.version, start.days) == (1, [fabricate.day(2), fabricate.day(3)])
    output = caplog.text
    assert "Starting from version 1: Version 2 is outdated" in output
    assert str(fabricate.day(2)) in output


def test_what_continues_an_outdated_version_is_outdated(world, chain, caplog):
    corrected(world, 1, 0.1)
    start = warm_start.start_of(world.lake, LAST, world.settings, scratch=False)
    assert (start.version, len(start.days)) == (None, 4)
    assert "Starting from scratch: Version 2 is outdated" in caplog.text
    assert set(outdated_versions(world.lake, registry.versions())) == {1, 2}


def test_a_few_late_rows_restart_nothing(world, chain, caplog):
    corrected(world, 2, 0.005)
    start = warm_start.start_of(world.lake, LAST, world.settings, scratch=False)
    assert (start.version.version, start.days) == (2, [fabricate.day(3)])
    assert "outdated" not in caplog.text


def test_a_version_is_current_again_once_its_rows_are_restored(world, chain):
    corrected(world, 2, 0.1)
    assert set(outdated_versions(world.lake, registry.versions())) == {2}
    corrected(world, 2, 0)
    assert not outdated_versions(world.lake, registry.versions())


def test_inputs_that_stay_constant_are_no_reason(world, promoted, caplog):
    aged(world, 300)
    first = promoted(fabricate.day(2))
    assert trained(world).base_version == first.version
    assert "Starting from scratch" not in caplog.text


def test_a_text_space_that_the_texts_have_left_is_fitted_again(world, promoted, caplog):
    aged(world, 5)
    first = promoted(fabricate.day(2))
    keys = np.arange(1, 301)
    cache = VectorCache(world.lake, fabricate.ENCODER)
    width = cache.lookup(cache.keys()[:1])[0].shape[1]
    cache.append(keys, np.random.default_rng(0).normal(0.5, 0.3, (300, width)).astype(np.float32), fabricate.day(3))
    fabricate.publish(world.lake, world.log, 3, title_key=np.resize(keys, int((world.log.number == 3).sum())))
    record = trained(world)
    assert (first.base_version, record.base_version) == (None, None)
    assert "the items' texts have moved away from those that the text space of version 1 was fitted on" in caplog.text


@pytest.mark.parametrize(
    ("setting", "changed"),
    [
        ("scenes", {"scenes": SIX_SCENES}),
        ("model", {"model": "ple"}),
        ("encoder", {"text_encoder": "team/encoder"}),
        ("llm", {"llm": "team/language-model"}),
        ("text_space", {"text_space": "whitened"}),
    ],
)
def test_a_base_of_other_settings_is_not_continued(world, promoted, caplog, setting, changed):
    aged(world, 5)
    promoted(fabricate.day(2))
    other = world.settings.model_copy(update=changed)
    config = warm_start.config_of(other)
    if setting == "encoder":
        fabricate.fake_vectors(world.lake, world.log, config.encoder, dim=32)
    record = trained(world, **changed)
    assert (record.base_version, record.days) == (None, 4)
    assert f"version 1 was trained with {setting}" in caplog.text
    assert load(registry.download(record.version)).state.config == config


def test_a_scene_unknown_to_the_champion_is_left_to_a_person(world, promoted):
    aged(world, 5)
    promoted(fabricate.day(2))
    other = world.settings.model_copy(update={"scenes": SIX_SCENES, "bootstrap_resamples": 100})
    scenes = fabricate.training_frame(world.log, 4).scene.replace({"4": "5"})
    fabricate.publish(world.lake, world.log, 4, scene=scenes)
    trained(world, scenes=SIX_SCENES)
    record = evaluation.run(LAST, other)
    assert record.unusable == {"candidate": 0, "champion": int((scenes == "5").sum()), "baseline": 0}
    decision = gate.run(LAST, True, other)
    assert "a scene that it was not trained for" in " ".join(decision.reasons)
    assert decision.verdict in ("hold", "reject")


@pytest.mark.parametrize(
    ("was", "now"), [('"expert_dim": 64', '"expert_dim": 32'), ('"model": "ple-alpha-llm"', '"model": "gone"')]
)
def test_a_base_of_another_architecture_is_not_continued(world, promoted, caplog, was, now):
    first = promoted(fabricate.day(2))
    config = registry.download(first.version) / "model.json"
    assert was in config.read_text()
    config.write_text(config.read_text().replace(was, now))
    record = trained(world)
    assert (record.base_version, record.days) == (None, 4)
    assert "another architecture" in caplog.text
