"""Leaks planted in what a model is fitted on: the day of evaluation must not shape it, and the audit finds it if it does."""

from dataclasses import replace

import fabricate
import pyarrow as pa
import pytest

from include.checks import Measure
from include.errors import LeakageError
from include.registry import registry
from include.settings import get_settings
from training.data.dense import transformed
from training.data.standardiser import Standardiser
from training.evaluate import evaluation
from training.evaluate.lineage_audit import audit, model_checks
from training.learn import train
from training.learn.artifact import load
from training.tables import only_days_before, read_day

pytestmark = pytest.mark.long

LAST = fabricate.day(4)


def replaced(rows: pa.Table, column: str, values: list[str]) -> pa.Table:
    """The rows with other values in a column."""
    return rows.set_column(rows.column_names.index(column), column, pa.array(values))


@pytest.mark.parametrize("fitted", ["scan_dataset", "fresh_state"])
def test_fitting_on_the_evaluation_day_is_refused(world, monkeypatch, fitted):
    """`scan_dataset` fits the standardisation and the vocabularies, `fresh_state` the whitening."""
    honest = getattr(train, fitted)

    def leaky(lake, second, *others):
        if fitted == "scan_dataset":
            return honest(lake, [*second, LAST], *others)
        read_day(lake, "texts", LAST, "Fitting the whitening")
        return honest(lake, second, *others)

    monkeypatch.setattr(train, fitted, leaky)
    with pytest.raises(LeakageError, match=rf"of {LAST}, but may only know days before {LAST}"):
        train.run(LAST, world.settings)


def test_a_fit_that_evades_the_guard_changes_the_model(world, candidate, monkeypatch):
    """What `test_nothing_of_the_evaluation_day_is_used` looks at would move."""
    honest, day = train.scan_dataset, read_day(world.lake, "training", LAST, "a leak")

    def leaky(*arguments):
        scan = honest(*arguments)
        return replace(scan, standardiser=Standardiser.fit(transformed(day)))

    clean = candidate(LAST)
    monkeypatch.setattr(train, "scan_dataset", leaky)
    assert train.run(LAST, world.settings).content_hash != clean.content_hash


def test_a_vocabulary_with_the_items_of_the_evaluation_day(world, monkeypatch):
    honest, day = train.scan_dataset, read_day(world.lake, "training", LAST, "a leak")

    def leaky(*arguments):
        scan = honest(*arguments)
        return type(scan)(**{**vars(scan), "items": scan.items.extended(day["item_id"])})

    monkeypatch.setattr(train, "scan_dataset", leaky)
    train.run(LAST, world.settings)
    with pytest.raises(LeakageError, match="expect_vocabulary_of_the_days_before on item_id: expected no item"):
        evaluation.run(LAST, world.settings)
    statuses = {check.name: check.status for check in world.lake.quality("model", LAST).checks}
    assert statuses["expect_vocabulary_of_the_days_before"] == "fail"


def test_a_model_trained_on_the_evaluation_day(world, candidate):
    version = candidate(LAST).version
    model, rows = load(registry.download(version)), read_day(world.lake, "training", LAST, "a test")
    honest = list(model_checks(LAST, rows, model, [fabricate.day(3)], forgets=False))
    assert {check.status for check in honest} == {"pass"}
    leak = next(model_checks(LAST, rows, model, [fabricate.day(3), LAST], forgets=False))
    assert leak.status == "fail"
    assert [check.measure for check in (honest[0], leak)] == [Measure(age, low=1, unit="days") for age in (1, 0)]


def test_one_id_of_no_training_day_is_a_leak_whatever_its_level(made, trained):
    rows = read_day(made.lake, "training", LAST, "a test").slice(0, 200)
    rows = replaced(rows, "user_id", ["stranger", *rows["user_id"].to_pylist()[1:]])
    rows = replaced(rows, "user_level", ["warm"] * len(rows))
    state = trained.predictor.state
    leaky = replace(trained.predictor, state=state.extended(state.users.extended(rows["user_id"][:1]), state.items))
    failed = [
        check for check in model_checks(LAST, rows, leaky, [fabricate.day(3)], forgets=True) if check.status == "fail"
    ]
    assert failed[0].measure == Measure(1, high=0, unit="ids")
    assert [(check.name, check.column, check.failing_rows) for check in failed] == [
        ("expect_vocabulary_of_the_days_before", "user_id", 1)
    ]


def test_returning_users_that_the_retention_forgot_are_no_leak(world, trained, monkeypatch):
    monkeypatch.setenv("CTR_RETENTION_DAYS", "7")
    get_settings.cache_clear()
    rows = read_day(world.lake, "training", LAST, "a test")
    rows = replaced(rows, "user_level", ["zero"] * len(rows))
    trained_days = [fabricate.day(3)]
    audit(world.lake, fabricate.day(8), rows, 1, trained.predictor, trained_days)
    observed = world.lake.quality("model", fabricate.day(8)).checks[1].observed
    assert f"first seen on {fabricate.day(8)} are in the vocabulary" in observed
    with pytest.raises(LeakageError, match="expect_first_seen_unknown on user_id: expected no user first seen"):
        audit(world.lake, fabricate.day(7), rows, 1, trained.predictor, trained_days)


def test_every_id_of_an_honest_vocabulary_was_learned_from(made, trained):
    extended_state = train.fit(made.lake, [LAST], made.settings, trained.predictor)
    for state in (trained.predictor.state, extended_state.predictor.state):
        for counts, vocabulary in ((state.memory.user_counts, state.users), (state.memory.item_counts, state.items)):
            assert len(counts) == len(vocabulary)
            assert (counts[1:, 0] >= 1).all()


def test_the_guard_ends_with_its_block(world):
    with only_days_before(LAST):
        read_day(world.lake, "training", fabricate.day(3), "a test")
        with pytest.raises(LeakageError):
            read_day(world.lake, "training", LAST, "a test")
    read_day(world.lake, "training", LAST, "a test")
