"""The gate benchmark: faults damage their columns and are undone, a night on a small lake, and its verdict on the gate."""

import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import log_loss

from benchmarks.gate import days
from benchmarks.gate.faults import FAULTS, FLIPPED_SCENE, planted
from benchmarks.gate.outcomes import Outcome, Plan, expected_auc, expected_log_loss, failed, show, verdicts
from include.lake.lake import Lake, get_lake
from include.records import Decision
from include.registry import registry
from include.settings import get_settings
from tests.training import fabricate
from training.evaluate.metrics import auc
from training.tables import read_day

ROWS, DAYS = 300, 10
LAST = fabricate.day(DAYS - 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate-days")
    log = fabricate.impressions(DAYS, ROWS)
    for number in range(DAYS):
        fabricate.publish(Lake(f"file://{folder}"), log, number)
    return folder


@pytest.fixture
def lake(home: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    shutil.copytree(made, home / "lake")
    monkeypatch.setenv("CTR_MODEL", "dnn")
    monkeypatch.setenv("CTR_BOOTSTRAP_RESAMPLES", "100")
    get_settings.cache_clear()
    return get_lake()


def rows(lake: Lake, day=LAST) -> pd.DataFrame:
    return read_day(lake, "training", day, "A test").to_pandas()


def changed(before: pd.DataFrame, after: pd.DataFrame) -> set[str]:
    return {name for name in before if not before[name].astype(str).equals(after[name].astype(str))}


def all_rows(lake: Lake) -> dict[date, pa.Table]:
    return {day: read_day(lake, "training", day, "A test") for day in lake.days("training")}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_planted_in_its_days_alone_and_undone(name, lake):
    clean = all_rows(lake)
    with planted(lake, [LAST], FAULTS[name]):
        damaged = all_rows(lake)
    assert [day for day in clean if not damaged[day].equals(clean[day])] == [LAST]
    assert damaged[LAST].schema == clean[LAST].schema
    assert all_rows(lake) == clean


def test_a_fault_is_undone_when_the_night_fails(lake):
    clean = all_rows(lake)
    with suppress(RuntimeError), planted(lake, [*clean][:3], FAULTS["labels_flipped"]):
        raise RuntimeError("a failed night")
    assert all_rows(lake) == clean


def test_flipped_are_the_labels_of_one_scene(lake):
    before = rows(lake)
    with planted(lake, [LAST], FAULTS["labels_flipped"]):
        after = rows(lake)
    assert changed(before, after) == {"label"}
    flipped = before.scene == FLIPPED_SCENE
    assert 0 < flipped.sum() < len(before)
    assert (after.label[flipped] == 1 - before.label[flipped]).all()
    assert (after.label[~flipped] == before.label[~flipped]).all()


def test_ctr_zeroed_fault_leaves_the_scene_ctr_unchanged(lake):
    """The rates of users, items and user pairs become 0."""
    before = rows(lake)
    with planted(lake, [LAST], FAULTS["ctr_zeroed"]):
        after = rows(lake)
    zeroed = changed(before, after)
    assert {"user_ctr_7d", "item_ctr_total", "user_scene_ctr_7d", "user_topic_ctr_7d"} <= zeroed
    assert "scene_ctr_7d" not in zeroed
    assert (after[[*zeroed]] == 0).all(axis=None)


def test_stale_rows_have_the_newest_values_of_a_week_earlier(lake):
    """A key without a row that old looks as if it was never seen."""
    past = pd.concat([rows(lake, fabricate.day(number)) for number in range(DAYS - 7)])
    with planted(lake, [LAST], FAULTS["snapshot_stale"]):
        after = rows(lake)
    assert (after.user_level == "zero").any()
    assert (after.user_level != "zero").any()
    for entity, column in (("user", "user_impressions_total"), ("item", "item_ctr_total"), ("item", "item_level")):
        newest = past.groupby(f"{entity}_id")[column].last()
        unknown = {"user_impressions_total": 0, "item_ctr_total": after.scene_ctr_7d, "item_level": "zero"}[column]
        expected = after[f"{entity}_id"].map(newest)
        assert (after[column] == expected.where(expected.notna(), unknown)).all()
    assert changed(rows(lake), after).isdisjoint({"label", "scene", "user_id", "scene_ctr_7d", "hour_of_day"})


def test_expected_figures_are_those_of_many_draws_of_the_clicks():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.05, 0.95, 400)
    predicted = 0.5 * truth + 0.5 * rng.random(400)
    drawn = [(rng.random(400) < truth).astype(int) for _ in range(200)]
    assert expected_auc(truth, predicted) == pytest.approx(
        np.mean([auc(label, predicted) for label in drawn]), abs=0.005
    )
    losses = [log_loss(label, predicted) for label in drawn]
    assert expected_log_loss(truth, predicted) == pytest.approx(np.mean(losses), abs=0.01)
    assert expected_log_loss(truth, truth) < expected_log_loss(truth, predicted)


def test_a_planted_night_is_judged_beside_its_undamaged_twin(lake, monkeypatch):
    day = fabricate.day(8)
    monkeypatch.setattr(days, "PLANTED", {1: Plan("labels_flipped", "retrain")})
    true = {"true_auc": {"1": (0.5, 0.6)}, "true_log_loss": (0.7, 0.6), "true_pcoc": (1.0, 1.0)}
    monkeypatch.setattr(days, "_true_figures", lambda _: true)
    days.first_champion(fabricate.day(7))
    champion = registry.champion()
    twin, bad = days.nights([day], lambda _: None)
    assert (twin.kind, bad.kind) == ("undamaged", "bad")
    assert (twin.base, bad.base, bad.trained_days) == (None, None, 8)
    assert twin.champion == bad.champion == champion.version
    assert bad.auc[0] < twin.auc[0]
    assert bad.auc[1] == twin.auc[1]
    assert registry.champion().version == (bad.version if bad.promoted else champion.version)
    assert get_lake().record(Decision, day).promoted == bad.promoted


def outcome(**changed: object) -> Outcome:
    good = Outcome(
        night=1,
        day="2023-07-18",
        kind="good",
        plan=None,
        version=2,
        base=1,
        champion=1,
        trained_days=1,
        verdict="promote",
        blocking=[],
        reasons=["Per-scene mean GAUC changed by +0.0010."],
        notes=[],
        promoted=True,
        auc=(0.7, 0.69),
        change=0.001,
        sees=0.01,
        true_auc={"0": (0.7, 0.69), "1": (0.6, 0.63)},
        true_log_loss=(0.41, 0.4),
        true_pcoc=(1.02, 1.01),
    )
    return replace(good, **changed)


PLAN = Plan("labels_flipped", "night")
TWIN = outcome(kind="undamaged", plan=PLAN, promoted=False, true_auc={"0": (0.72, 0.69), "1": (0.66, 0.63)})
BAD = outcome(kind="bad", plan=PLAN, verdict="reject", promoted=False)


def test_true_change_is_scene_mean_and_damage_is_against_a_twin():
    assert BAD.auc_change == pytest.approx(-0.01)
    assert BAD.worst_scene == pytest.approx(-0.03)
    assert BAD.damage(TWIN) == pytest.approx(-0.04)


@pytest.mark.parametrize(
    ("outcomes", "wrong"),
    [
        ([outcome(), TWIN, BAD], False),
        ([outcome(verdict="hold"), TWIN, replace(BAD, verdict="hold")], False),
        ([outcome(), TWIN, replace(BAD, verdict="promote")], True),
        ([outcome(), TWIN, replace(BAD, verdict="promote", true_log_loss=(0.39, 0.4))], False),
        ([outcome(verdict="reject"), TWIN, BAD], True),
        ([outcome(), replace(TWIN, verdict="reject"), BAD], True),
    ],
)
def test_gate_fails_on_a_promoted_bad_or_rejected_good_candidate(outcomes, wrong):
    """A promoted bad candidate counts only if it is truly worse."""
    assert failed(outcomes) is wrong


def test_the_tables_list_each_candidate_and_the_sums(capsys):
    outcomes = [outcome(night=2), TWIN, replace(BAD, verdict="promote")]
    result = {"machine": {"code": "abc"}, "options": {"seed": 18, "rows": 5000, "model": "ple"}, "policy": "default"}
    show(result, outcomes)
    printed = capsys.readouterr().out
    assert max(len(line) for line in printed.splitlines()) <= 150
    assert "labels flipped, night" in printed
    assert "-0.0400" in printed
    assert verdicts(outcomes) in printed
    assert verdicts(outcomes).splitlines() == [
        "Of 1 bad candidates 1 promoted, 0 held, 0 rejected.",
        "Of 2 good candidates 2 passed, 0 held, 0 rejected.",
        "Bad, but promoted: night 1, truly WORSE than the champion (log loss +0.01000, AUC -0.01000).",
    ]
