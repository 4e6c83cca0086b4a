import json
import math
import shutil

import fabricate
import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.metrics import roc_auc_score

from include.errors import MissingDataError
from include.records import Train
from include.registry import mlflow_store, registry
from training.learn import dataset_scan, steps, train
from training.learn.artifact import HASHED, load, save
from training.learn.trainer import TrainingDivergedError
from training.tables import read_day, read_shards
from training.text.text_table import BAGS
from training.text.topics import Topics

pytestmark = pytest.mark.long

LAST = fabricate.day(4)


def predicted(model, world, number: int):
    rows = read_day(world.lake, "training", fabricate.day(number), "test")
    return model.predict(rows, world.lake), rows


def test_the_next_day_is_ranked_above_chance_and_calibrated(made, trained):
    predictions, rows = predicted(trained.predictor, made, 4)
    labels = rows["label"].to_numpy()
    assert roc_auc_score(labels, predictions.probability) > 0.6
    assert abs(predictions.probability.mean() / labels.mean() - 1) < 0.15
    assert predictions.missing_texts == 0


def test_what_untrained_weights_predicted_calibrates_nothing(made):
    one, two = (train.fit(made.lake, [fabricate.day(n) for n in range(days)], made.settings, None) for days in (1, 2))
    assert one.predictor.calibration.slope.tolist() == [1.0] * 5
    assert one.predictor.calibration.offset.tolist() == [0.0] * 5
    assert two.predictor.calibration.slope.tolist() != [1.0] * 5


def test_each_day_is_predicted_before_it_is_learned_from(made, trained):
    assert [point.day for point in trained.curve] == [str(fabricate.day(number)) for number in range(4)]
    assert trained.curve[-1].log_loss < trained.curve[0].log_loss


def test_a_rerun_registers_nothing_new_and_gives_the_same_bytes(world):
    first = train.run(LAST, world.settings)
    before = {name: (registry.download(first.version) / name).read_bytes() for name in HASHED}
    second = train.run(LAST, world.settings)
    assert second.version == first.version
    assert second.content_hash == first.content_hash
    assert before == {name: (registry.download(second.version) / name).read_bytes() for name in HASHED}


def test_nothing_of_the_evaluation_day_is_used(world, candidate):
    """Other labels, features, texts and ids on the log day leave the candidate as it is, to the last bit."""
    first = candidate(LAST)
    other = fabricate.impressions(fabricate_days := 5, 500, seed=99)
    fabricate.publish(world.lake, other[other.number < fabricate_days], 4)
    assert train.run(LAST, world.settings).content_hash == first.content_hash


def test_vectors_filed_under_later_days_change_nothing(world, candidate):
    first = candidate(LAST)
    cache = train.VectorCache(world.lake, fabricate.LLM)
    cache.append(cache.keys()[:50], np.ones((50, 96), np.float32), LAST)
    assert train.run(LAST, world.settings).content_hash == first.content_hash


def test_another_seed_gives_other_weights(made, trained):
    days = [fabricate.day(number) for number in range(4)]
    other = train.fit(made.lake, days, made.settings.model_copy(update={"seed": 5}), None)
    assert not torch.equal(other.predictor.model.items.weight, trained.predictor.model.items.weight)


def test_a_version_trained_in_bfloat16_is_as_good_and_predicts_in_float32(made, trained, monkeypatch):
    monkeypatch.setattr(steps, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(steps, "LARGE_STEP", 1)
    half = train.fit(made.lake, [fabricate.day(number) for number in range(4)], made.settings, None)
    assert half.curve != trained.curve
    for one, other in zip(half.curve, trained.curve, strict=True):
        assert one.log_loss == pytest.approx(other.log_loss, abs=0.002)
    assert not any(getattr(module, "in_bfloat16", False) for module in half.predictor.model.modules())


def test_a_loaded_version_predicts_the_same(made, trained, tmp_path):
    digest = save(tmp_path / "one", trained.predictor, {})
    loaded = load(tmp_path / "one")
    assert save(tmp_path / "two", loaded, {}) == digest
    one, rows = predicted(trained.predictor, made, 4)
    two, _ = predicted(loaded, made, 4)
    assert np.array_equal(one.probability, two.probability)
    assert one.probability.dtype == np.float64
    assert len(one.alpha) == len(one.content) == len(one.backbone) == len(rows)


def test_predictions_follow_their_rows(made, trained):
    rows = read_day(made.lake, "training", LAST, "test")
    order = np.random.default_rng(0).permutation(len(rows))
    straight, shuffled = (trained.predictor.predict(table, made.lake) for table in (rows, rows.take(order)))
    assert np.allclose(straight.probability[order], shuffled.probability, atol=1e-6)


def test_warm_start_learns_only_new_days_and_keeps_fitted_state(world, promoted):
    """The whitening, the standardisation and the places of known ids stay."""
    fabricate.publish_empty(world.lake, world.log, -5)
    first = promoted(fabricate.day(2))
    second = train.run(LAST, world.settings)
    assert second.base_version == first.version
    assert (second.days, second.trained_from) == (2, first.trained_from)
    assert second.trained_through == fabricate.day(3)
    base, extended_state = (load(registry.download(record.version)) for record in (first, second))
    assert np.array_equal(base.state.whiten_text.weight, extended_state.state.whiten_text.weight)
    assert np.array_equal(base.state.standardiser.mean, extended_state.state.standardiser.mean)
    assert len(extended_state.state.items) > len(base.state.items)
    assert extended_state.state.items.ids[: len(base.state.items) - 1] == base.state.items.ids
    assert extended_state.state.memory.item_counts[:, 0].sum() == 4 * len(world.log) / 5


def test_a_base_whose_files_were_pruned_is_not_continued(world, promoted, caplog):
    first = promoted(fabricate.day(2))
    mlflow_store.set_tags(first.version, pruned_at="2023-07-20T00:00:00")
    second = train.run(LAST, world.settings)
    assert (second.base_version, second.days) == (None, 4)
    assert "Starting from scratch: The model of version 1 was deleted on 2023-07-20" in caplog.text


def test_without_new_days_the_base_stays_the_candidate(world, promoted):
    first = promoted(fabricate.day(3))
    shutil.rmtree(world.home / "lake/_manifests/training")
    (world.home / "lake/_manifests/training").mkdir()
    record = train.run(LAST, world.settings)
    assert (record.version, record.rows, record.days) == (first.version, 0, 0)


def test_a_warm_start_surveys_ids_and_texts_alone(made, trained, monkeypatch):
    read = []

    def watched(lake, table, day, needed_for, rows, columns=None):
        read.append(columns)
        return read_shards(lake, table, day, needed_for, rows, columns)

    monkeypatch.setattr(dataset_scan, "read_shards", watched)
    scan = dataset_scan.scan_dataset(made.lake, [LAST], trained.predictor, trained.predictor.state.config.variant, 250)
    assert read == [("user_id", "item_id", "title_key", *BAGS)]
    assert scan.rows == 600
    assert len(scan.users) > len(trained.predictor.state.users)


def test_topics_of_the_texts_are_computed_once(made, monkeypatch):
    calls, honest = [], Topics.of
    monkeypatch.setattr(Topics, "of", lambda topics, texts: calls.append(texts) or honest(topics, texts))
    train.fit(made.lake, [fabricate.day(number) for number in range(2)], made.settings, None)
    assert len(calls) == 1


def test_the_first_day_of_a_log_says_what_is_missing(world):
    with pytest.raises(MissingDataError, match="ctr history"):
        train.run(fabricate.day(0), world.settings)


def test_a_loss_that_is_not_a_number_stops_training(made):
    with pytest.raises(TrainingDivergedError, match="CTR_LEARNING_RATE"):
        train.fit(made.lake, [fabricate.day(0)], made.settings.model_copy(update={"learning_rate": math.inf}), None)


def test_ids_never_seen_and_missing_texts_are_predicted_too(made, trained):
    rows = read_day(made.lake, "training", LAST, "test").slice(0, 20)
    for name, values in (("item_id", ["new"] * 20), ("user_id", ["new"] * 20), ("title_key", [12345] * 20)):
        index = rows.column_names.index(name)
        rows = rows.set_column(index, name, pa.array(values, rows.schema.field(name).type))
    predictions = trained.predictor.predict(rows.drop_columns(["label"]), made.lake)
    assert predictions.missing_texts == 1
    assert np.isfinite(predictions.probability).all()


def test_a_version_is_plain_files_that_explain_themselves(world, candidate):
    record = candidate(LAST)
    assert world.lake.record(Train, LAST) == record
    assert (record.rows, record.days, len(record.learning_curve)) == (2400, 4, 4)
    folder = registry.download(record.version)
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"learning_curve.svg", "learning_curve.csv", "feature_meta.json", "manifests.json", "settings.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pt", ".bin"))]
    manifests = json.loads((folder / "manifests.json").read_text())
    assert list(manifests["training"]) == [str(fabricate.day(number)) for number in range(4)]
    assert str(world.home) not in (folder / "settings.json").read_text()


def test_a_broken_version_says_so(trained, tmp_path):
    save(tmp_path, trained.predictor, {})
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(MissingDataError, match=r"weights\.safetensors"):
        load(tmp_path)
