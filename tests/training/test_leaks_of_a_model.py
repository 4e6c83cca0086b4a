"""Leaks planted in what a model is fitted on: the day of evaluation must not shape it, and the audit finds it if it does."""

import fabricate
import pytest

from include import registry
from include.errors import LeakageError
from training import evaluation, train
from training.artifact import load
from training.audit import model_checks
from training.dense import transformed
from training.tables import only_days_before, read_day

LAST = fabricate.day(4)


@pytest.mark.parametrize("fitted", ["survey", "fresh_state"])
def test_statistics_vocabulary_or_whitening_fitted_on_the_evaluation_day(world, monkeypatch, fitted):
    """`survey` fits the standardisation and the vocabularies, `fresh_state` the whitening."""
    honest = getattr(train, fitted)

    def leaky(store, second, *others):
        if fitted == "survey":
            return honest(store, [*second, LAST], *others)
        read_day(store, "texts", LAST, "Fitting the whitening")
        return honest(store, second, *others)

    monkeypatch.setattr(train, fitted, leaky)
    with pytest.raises(LeakageError, match=rf"of {LAST}, but may only know days before {LAST}"):
        train.run(LAST, world.settings)


def test_a_fit_that_goes_around_the_guard_changes_the_model_with_the_day(world, monkeypatch):
    """What `test_nothing_of_the_evaluation_day_is_used` looks at would move."""
    honest, day = train.survey, read_day(world.lake, "training", LAST, "a leak")

    def leaky(*arguments):
        found = honest(*arguments)
        found.moments.add(transformed(day))
        return found

    clean = train.run(LAST, world.settings)
    monkeypatch.setattr(train, "survey", leaky)
    assert train.run(LAST, world.settings)["content_hash"] != clean["content_hash"]


def test_a_vocabulary_with_the_items_of_the_evaluation_day(world, monkeypatch):
    honest, day = train.survey, read_day(world.lake, "training", LAST, "a leak")

    def leaky(*arguments):
        found = honest(*arguments)
        return type(found)(**{**vars(found), "items": found.items.extended(day["item_id"])})

    monkeypatch.setattr(train, "survey", leaky)
    train.run(LAST, world.settings)
    with pytest.raises(LeakageError, match="expect_vocabulary_of_the_days_before: expected no item"):
        evaluation.run(LAST, world.settings)
    statuses = {check["name"]: check["status"] for check in world.lake.record("quality/model", LAST)["checks"]}
    assert statuses["expect_vocabulary_of_the_days_before"] == "fail"


def test_a_model_trained_on_the_evaluation_day(world):
    version = train.run(LAST, world.settings)["version"]
    model, rows = load(registry.download(version)), read_day(world.lake, "training", LAST, "a test")
    honest = list(model_checks(LAST, rows, model, [fabricate.day(3)]))
    assert {check["status"] for check in honest} == {"pass"}
    assert next(model_checks(LAST, rows, model, [fabricate.day(3), LAST]))["status"] == "fail"


def test_the_guard_ends_with_its_block(world):
    with only_days_before(LAST):
        read_day(world.lake, "training", fabricate.day(3), "a test")
        with pytest.raises(LeakageError):
            read_day(world.lake, "training", LAST, "a test")
    read_day(world.lake, "training", LAST, "a test")
