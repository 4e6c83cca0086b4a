"""The quality benchmark: figures that are scikit-learn's, fits that read nothing of the evaluation day, paired differences."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.quality import compare, fit
from benchmarks.quality.homes import Home, own_lake
from benchmarks.quality.models import ALTERNATIVES, VARIANTS, fit_and_predict
from benchmarks.quality.plot import draw
from benchmarks.quality.rechub import Batches, own_scene_loss
from benchmarks.quality.report import show
from benchmarks.quality.rows import held_out
from benchmarks.quality.score import EvaluatedRows, MeasuredHome, cells, measure, summary
from include.errors import CtrError, LeakageError
from include.lake.lake import Lake
from include.settings import get_settings
from tests.training import fabricate
from training.model_variants import MODEL_VARIANTS

ROWS = 300
TRAINING_DAYS = 2
SCENES = fabricate.SCENES
VARIANT = "ple-alpha-llm"
MODELS = ("lightgbm", "lightgbm-text", "rechub-mmoe", "rechub-ple", VARIANT)


@pytest.fixture(scope="module")
def log() -> pd.DataFrame:
    return fabricate.impressions(TRAINING_DAYS + 2, ROWS)


def home_in(folder: Path, log: pd.DataFrame, evaluated: int = 1) -> Home:
    """A home with two days to learn from and the days after them, of which the first ones are evaluated."""
    lake = Lake(f"file://{folder}/lake")
    days = [fabricate.day(number) for number in range(TRAINING_DAYS + evaluated)]
    for number in range(len(days)):
        fabricate.publish(lake, log, number)
    fabricate.fake_vectors(lake, log)
    fabricate.fake_vectors(lake, log, fabricate.LLM, dim=96, seed=2)
    return Home("generated", folder, SCENES, (18,), 10, tuple(days), tuple(days[TRAINING_DAYS:]))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, log: pd.DataFrame) -> Home:
    return home_in(tmp_path_factory.mktemp("quality"), log, evaluated=2)


@pytest.fixture(autouse=True)
def no_settings_are_kept() -> Iterator[None]:
    yield
    get_settings.cache_clear()


def predicted(home: Home, model: str) -> np.ndarray:
    day = home.evaluated[0]
    return fit_and_predict(model, home.lake, home.days[:TRAINING_DAYS], day, home.settings(18)).probability


def noise(rows: EvaluatedRows, seed: int) -> np.ndarray:
    """Return predictions that depend on the label, with noise."""
    return np.clip(0.3 + 0.2 * rows.label + np.random.default_rng(seed).normal(0, 0.2, len(rows.label)), 0.01, 0.99)


@pytest.mark.parametrize("model", MODELS)
def test_labels_of_the_evaluation_day_change_no_prediction(model, home, log, tmp_path):
    other = log.copy()
    of_day = other.number == TRAINING_DAYS
    other.loc[of_day, "label"] = 1 - other.loc[of_day, "label"]
    mirrored = home_in(tmp_path, other)
    before = [Lake(f"file://{side.folder}/lake") for side in (home, mirrored)]
    assert before[0].url != before[1].url
    straight, turned = (predicted(side, model) for side in (home, mirrored))
    assert np.array_equal(straight, turned)
    assert len(np.unique(straight)) > 10


def test_a_fit_that_reads_the_evaluation_day_is_refused(home):
    day = home.evaluated[0]
    with pytest.raises(LeakageError, match=str(day)):
        fit_and_predict("lightgbm", home.lake, home.days, day, home.settings(18))


def test_peers_stop_on_the_last_training_day_or_on_users_of_it():
    days = [pa.table({"user_id": [f"u{n}" for n in range(20)], "day": [day] * 20}) for day in range(3)]
    fitted_rows, held = held_out(days)
    assert set(fitted_rows["day"].to_pylist()) == {0, 1}
    assert set(held["day"].to_pylist()) == {2}
    fitted_rows, held = held_out(days[:2])
    assert (len(fitted_rows), len(held)) == (36, 4)
    assert set(held["day"].to_pylist()) == {1}
    last = fitted_rows.filter(pc.equal(fitted_rows["day"], 1))
    assert not set(held["user_id"].to_pylist()) & set(last["user_id"].to_pylist())


def test_metrics_are_those_of_scikit_learn(home):
    rows = EvaluatedRows.of(home)
    probability = noise(rows, 0)
    (found,) = measure(rows, [probability], SCENES, 100, "test")
    for number in range(len(home.evaluated)):
        at = rows.day == number
        label, score, scene = rows.label[at], probability[at], rows.scene[at]
        assert found["auc"][number, 0] == pytest.approx(roc_auc_score(label, score), abs=1e-12)
        assert found["log_loss"][number, 0] == pytest.approx(log_loss(label, score), abs=1e-6)
        assert found["pcoc"][number, 0] == pytest.approx(score.sum() / label.sum(), abs=1e-6)
        rankable = [name for name in SCENES if min(np.bincount(label[scene == name], minlength=2)) >= 10]
        aucs = [roc_auc_score(label[scene == name], score[scene == name]) for name in rankable]
        assert 1 < len(rankable) < len(SCENES)
        assert found["scene_mean_auc"][number, 0] == pytest.approx(np.mean(aucs), abs=1e-12)
        warm = at & (rows.item_level == "warm")
        assert found["warm_item_auc"][number, 0] == pytest.approx(
            roc_auc_score(rows.label[warm], probability[warm]), abs=1e-12
        )
        assert found["gauc"][number, 0] == pytest.approx(gauc(rows, probability, at), abs=1e-6)


def gauc(rows: EvaluatedRows, probability: np.ndarray, at: np.ndarray) -> float:
    aucs, weights = [], []
    for user in np.unique(rows.user[at]):
        own = at & (rows.user == user)
        if 0 < rows.label[own].sum() < own.sum():
            aucs.append(roc_auc_score(rows.label[own], probability[own]))
            weights.append(own.sum())
    return float(np.average(aucs, weights=weights))


def scored(home: Home, **predictions: np.ndarray) -> MeasuredHome:
    found = measure(EvaluatedRows.of(home), list(predictions.values()), SCENES, 200, home.name)
    return MeasuredHome(home, {(name, 18): metrics for name, metrics in zip(predictions, found, strict=True)})


def test_a_model_does_not_differ_from_itself(home):
    predictions = noise(EvaluatedRows.of(home), 1)
    found = scored(home, dnn=predictions, mmoe=predictions)
    difference = summary([found], ["dnn", "mmoe"])["mmoe"]["minus_rung_before"]
    assert difference["other"] == "dnn"
    for change in difference["changes"].values():
        nothing = 0 if change["cells"] else None
        assert (change["value"], change["low"], change["high"], change["above_0"]) == (nothing, nothing, nothing, 0)


def test_paired_difference_has_a_narrower_interval_than_a_model(home):
    rows = EvaluatedRows.of(home)
    better = np.clip(noise(rows, 1) + 0.03 * rows.label, 0, 1)
    found = summary([scored(home, dnn=noise(rows, 1), mmoe=better)], ["dnn", "mmoe"])
    change, alone = found["mmoe"]["minus_rung_before"]["changes"]["auc"], found["mmoe"]["metrics"]["auc"]
    assert change["low"] > 0
    assert change["high"] - change["low"] < (alone["high"] - alone["low"]) / 2
    assert change["above_0"] == change["cells"] == 2


def test_means_go_over_days_and_deviations_tell_days_from_seeds(home):
    rows = EvaluatedRows.of(home)
    homes = [scored(home, dnn=noise(rows, seed)) for seed in (1, 2)]
    values = cells(homes, "dnn", "auc").values[:, 0]
    estimate = cells(homes, "dnn", "auc").estimate()
    assert estimate["value"] == pytest.approx(values.mean(), abs=1e-6)
    assert estimate["cells"] == 4
    days, seeds = values.reshape(2, 2).std(axis=1, ddof=1).mean(), values.reshape(2, 2).mean(axis=1).std(ddof=1)
    assert (estimate["deviation_of_days"], estimate["deviation_of_seeds"]) == pytest.approx((days, seeds), abs=1e-6)


def test_a_row_trains_its_own_scene_alone():
    label, scene = torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0, 2, 2, 0])
    ((inputs, labels),) = Batches({"row": torch.arange(4)}, label, scene, tasks=3, size=8, seed=0)
    probability = torch.rand((4, 3), generator=torch.Generator().manual_seed(0), requires_grad=True)
    losses = [own_scene_loss(probability[:, task], labels[:, task], tasks=3) for task in range(3)]
    own = probability.gather(1, scene[inputs["row"], None])[:, 0]
    expected = torch.nn.functional.binary_cross_entropy(own, label[inputs["row"]])
    assert (sum(losses) / 3).item() == pytest.approx(expected.item(), abs=1e-6)
    sum(losses).backward()
    others = torch.ones((4, 3), dtype=bool).scatter_(1, scene[inputs["row"], None], False)
    assert (probability.grad[others] == 0).all()
    assert (probability.grad[~others] != 0).all()


def test_the_whole_of_it_is_one_record_and_three_tables(home, capsys, monkeypatch):
    models = ["lightgbm", "rechub-ple", VARIANT]
    result = compare.of_data([home], models, 100, lambda _: None)
    assert set(result["models"]) == set(models)
    assert {fit["rows_learnt"] for fit in result["fits"]} == {2 * ROWS, 3 * ROWS}
    assert all(fit["fit_seconds"] > 0 and fit["peak_mib"] > 50 for fit in result["fits"])
    assert result["models"][VARIANT]["minus_lightgbm"]["other"] == "lightgbm"
    alphas = [fit["about"]["alpha"]["item"] for fit in result["fits"] if fit["model"] == VARIANT]
    assert all(0 < alpha < 1 for levels in alphas for alpha in levels.values() if alpha is not None)
    show(json.loads(json.dumps({"data": {"generated": result}})))
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 130
    assert all(name in printed for name in (*models, "scene mean AUC", "leak-demo"))

    def refused(*_: object) -> str:
        raise AssertionError("predictions of the same code and rows are used again")

    monkeypatch.setattr(fit, "run", refused)
    again = compare.of_data([home], models, 100, lambda _: None)
    assert again == result


def test_the_picture_shows_each_variant_and_its_trust_in_text(home, tmp_path):
    rows = EvaluatedRows.of(home)
    models = {name: noise(rows, seed) for seed, name in enumerate(("ple", "ple-text", "ple-alpha"))}
    alpha = {"user": {"zero": 0.9, "few": None, "warm": 0.2}, "item": {"zero": 0.8, "few": 0.5, "warm": 0.1}}
    fits = [{"model": "ple-alpha", "about": {"alpha": alpha}}]
    found = {"models": summary([scored(home, **models)], list(models)), "fits": fits}
    assert draw(found, "A title", tmp_path / "all.png")
    assert (tmp_path / "all.png").read_bytes().startswith(b"\x89PNG")
    alone = {"models": summary([scored(home, ple=models["ple"])], ["ple"]), "fits": []}
    assert not draw(alone, "A title", tmp_path / "nothing.png")
    assert not (tmp_path / "nothing.png").exists()


def test_every_model_variant_can_be_measured():
    assert set(MODEL_VARIANTS) == {*VARIANTS, *ALTERNATIVES}


def test_figures_of_the_world_of_development_are_marked(home):
    assert not home.in_development
    assert replace(home, seeds=(18, 17)).in_development
    assert replace(home, data="mind").in_development


def test_the_lake_of_the_settings_is_taken_as_it_is(home, tmp_path, monkeypatch):
    monkeypatch.setenv("CTR_HOME", str(home.folder))
    monkeypatch.setenv("CTR_SCENES", ",".join(SCENES))
    monkeypatch.setenv("CTR_BATCH_SIZE", "64")
    get_settings.cache_clear()
    own = own_lake(tmp_path, [18], TRAINING_DAYS, 1)
    assert (own.days, own.evaluated, own.scenes) == (home.days[-TRAINING_DAYS - 1 :], home.days[-1:], SCENES)
    assert (own.settings(18).seed, own.settings(18).batch_size, own.environment(18)["CTR_BATCH_SIZE"]) == (18, 64, "64")
    assert not own.in_development
    assert len(EvaluatedRows.of(own).event_id) > 0
    with pytest.raises(CtrError, match=r"expected 12 published days .* found 4"):
        own_lake(tmp_path, [18], 10, 2)
