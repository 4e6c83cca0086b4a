"""Evaluation reports every group with intervals, says where it cannot tell, and compares only with who has not seen the day."""

import gzip
import sys
from pathlib import Path

import numpy as np
import pytest
import sample_records
from published_day import DAY, NamedModels, publish, register, trained
from scored_days import SCENES, make_day, model, sigmoid

from include.errors import CtrError, InvalidInputError, MissingDataError
from include.lake.lake import get_lake
from include.metrics_records import DayMetrics, Estimate, GroupEstimates
from include.orchestration.decision import apply_decision
from include.registry import registry
from include.settings import get_settings
from training.evaluate import evaluation, metrics, predictions
from training.evaluate.day_metrics import evaluate
from training.gate import gate

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS = 3_000
POINTS = make_day(ROWS, 8)
GOOD, OTHER = model(POINTS, 1, noise=0.2), model(POINTS, 2, noise=3.0)
MID, LATE = model(POINTS, 3, noise=0.8), model(POINTS, 4, noise=1.2)


@pytest.fixture
def ready(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CTR_BOOTSTRAP_RESAMPLES", "100")
    monkeypatch.setenv("CTR_BASELINE_ROWS", "0")  # these rows have no features
    get_settings.cache_clear()
    monkeypatch.setitem(sys.modules, "training.learn.artifact", NamedModels(good=GOOD, other=OTHER, mid=MID, late=LATE))
    monkeypatch.setattr("training.learn.artifact", sys.modules["training.learn.artifact"], raising=False)
    publish(POINTS)
    return home


@pytest.fixture(scope="module")
def record() -> DayMetrics:
    return evaluate(POINTS.rows(GOOD, OTHER), SCENES, 100, (1,))


def group(record: DayMetrics, by: str, scene: str | None = None) -> GroupEstimates:
    return next(group for group in record.groups if (group.by, group.scene) == (by, scene))


def test_every_group_is_reported_with_its_counts(record: DayMetrics) -> None:
    assert len(record.groups) == 1 + 5 + 3 + 3 + 45 + 1
    assert group(record, "small_scenes").n == (POINTS.scene == "3").sum()
    assert record.small_scenes == ["3"]
    for by in ("scene", "user_level", "item_level", "cell"):
        assert sum(g.n for g in record.groups if g.by == by) == ROWS
        assert sum(g.clicks for g in record.groups if g.by == by) == POINTS.label.sum()


def test_points_are_the_plain_metrics_and_lie_in_their_intervals(record: DayMetrics) -> None:
    chosen = POINTS.scene == "2"
    entry = group(record, "scene", scene="2")
    assert entry.candidate["auc"].value == pytest.approx(metrics.auc(POINTS.label[chosen], GOOD[chosen]), abs=1e-6)
    expected = metrics.gauc(POINTS.label[chosen], GOOD[chosen], POINTS.user[chosen])
    assert entry.candidate["gauc"].value == pytest.approx(expected, abs=1e-6)
    for name in ("auc", "gauc", "log_loss", "pcoc"):
        estimate = entry.champion[name]
        assert estimate.low <= estimate.value <= estimate.high


def test_the_headline_is_the_plain_mean_over_scenes(record: DayMetrics) -> None:
    by_scene = [group(record, "scene", scene=scene).candidate["auc"].value for scene in SCENES]
    assert record.headline.candidate["scene_mean_auc"].value == pytest.approx(np.mean(by_scene), abs=1e-5)


def test_a_cell_that_cannot_tell_says_so_instead_of_zero_or_nan() -> None:
    alone = POINTS.scene == "0"
    label = np.where(alone, 0, POINTS.label)
    rows = POINTS.rows(GOOD)
    rows = type(rows)(**{**vars(rows), "label": label})
    entry = group(evaluate(rows, (*SCENES, "9"), 100, (1,)), "scene", scene="0")
    assert entry.candidate["auc"] == Estimate(value=None, note=f"insufficient: 0 clicks, {alone.sum()} non-clicks")
    assert entry.candidate["log_loss"].value is not None
    empty = group(evaluate(rows, (*SCENES, "9"), 100, (1,)), "scene", scene="9")
    assert empty.candidate["auc"].note == "no impressions"


def test_a_model_that_predicts_nan_has_a_count_but_no_metrics() -> None:
    broken = GOOD.copy()
    broken[3] = np.nan
    record = evaluate(POINTS.rows(broken, OTHER), SCENES, 100, (1,))
    assert record.unusable == {"candidate": 1, "champion": 0}
    assert record.headline.candidate is None
    assert record.headline.champion["auc"].value is not None


def test_a_day_is_evaluated_gated_promoted_and_can_be_run_again(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.orchestration.decision.verify", lambda version: None)  # these versions are no models
    first = register(ready, "other", on=DAY.replace(day=16))
    registry.promote(first.version, reason="first", by="test")
    trained(register(ready, "good"))
    record = evaluation.run(DAY, get_settings())
    assert record.champion.status == "unseen"
    assert record.headline.change["scene_mean_gauc"].value is not None
    logged = registry.metrics(record.candidate.version)
    assert logged["auc"] == record.headline.candidate["auc"].value
    assert logged["champion/auc"] == record.headline.champion["auc"].value
    assert logged["scene/2/auc"] == group(record, "scene", scene="2").candidate["auc"].value
    decision = gate.run(DAY, True, get_settings())
    assert (decision.verdict, decision.candidate, decision.champion) == ("promote", 2, 1)
    assert registry.get(2).verdict == "promote"
    apply_decision(DAY, "gate")
    assert registry.champion().version == 2

    again = evaluation.run(DAY, get_settings())
    assert again.champion.status == "same"
    assert again.headline.champion is None
    assert gate.run(DAY, True, get_settings()).verdict == "promote"
    apply_decision(DAY, "gate")
    assert registry.champion().version == 2


def test_the_candidate_is_also_compared_with_an_anchor(ready: Path) -> None:
    """The anchor stays the same while it shows a loss."""
    anchor = registry.promote(register(ready, "good", on=DAY.replace(day=10)).version, reason="first", by="test")
    between, champion = (register(ready, name, on=DAY.replace(day=day)) for name, day in (("other", 14), ("mid", 15)))
    for version in (between, champion):
        registry.promote(version.version, reason="next", by="test")
    trained(register(ready, "late"))
    record = evaluation.run(DAY, get_settings())
    assert record.anchor.version == anchor.version
    change = group(record, "scene", scene="2").change_from_anchor["auc"]
    assert change.value == pytest.approx(
        group(record, "scene", scene="2").candidate["auc"].value
        - metrics.auc(POINTS.label[POINTS.scene == "2"], GOOD[POINTS.scene == "2"]),
        abs=1e-5,
    )
    decision = gate.run(DAY, True, get_settings())
    assert decision.since_anchor["auc"].nights == 1
    assert decision.anchor.loss_shown, "it is much worse than the first one was"
    assert "auc since the anchor" in [rule.name for rule in decision.rules if rule.verdict == "reject"]
    of_between = decision.anchor.model_copy(update={"version": between.version})
    past = decision.model_copy(update={"day": DAY.replace(day=16), "anchor": of_between})
    get_lake().write_record(past)
    assert evaluation.run(DAY, get_settings()).anchor.version == between.version
    again = gate.run(DAY, True, get_settings())
    assert again.since_anchor["auc"].nights == 2


def test_a_candidate_kept_back_is_evaluated_again_the_day_after(ready: Path) -> None:
    champion = registry.promote(register(ready, "late", on=DAY.replace(day=15)).version, reason="first", by="test")
    held = register(ready, "good", on=DAY.replace(day=16))
    decision = sample_records.decision(
        DAY.replace(day=16), held.version, champion=champion.version, verdict="hold", promoted=False
    )
    get_lake().write_record(decision)
    trained(register(ready, "mid"))
    not_promoted = evaluation.run(DAY, get_settings()).not_promoted
    assert (not_promoted.version, not_promoted.verdict) == (held.version, "hold")
    expected = metrics.row_log_loss(POINTS.label, GOOD) - metrics.row_log_loss(POINTS.label, LATE)
    assert not_promoted.change.value == pytest.approx(expected.mean(), abs=1e-6)
    assert not_promoted.change.high < 0, "it would have been better"
    get_lake().write_record(decision.model_copy(update={"promoted": True}))
    assert evaluation.run(DAY, get_settings()).not_promoted is None


def test_an_anchor_that_does_not_load_is_noted_and_fails_nothing(ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, day in (("gone", 10), ("other", 15)):
        registry.promote(register(ready, name, on=DAY.replace(day=day)).version, reason="next", by="test")
    trained(register(ready, "good"))
    load = sys.modules["training.learn.artifact"].load

    def refuse(folder: Path) -> object:
        if (folder / "name.txt").read_text() == "gone":
            raise MissingDataError("its encoder is not there")
        return load(folder)

    monkeypatch.setattr(sys.modules["training.learn.artifact"], "load", refuse)
    record = evaluation.run(DAY, get_settings())
    assert record.anchor.note == "its encoder is not there"
    rules = {rule.name: rule for rule in gate.run(DAY, True, get_settings()).rules}
    assert rules["anchor"].verdict == "note"
    assert "its encoder is not there" in rules["anchor"].sentence


def test_log_loss_at_the_days_clicks_does_not_see_a_wrong_level() -> None:
    for factor in (0.5, 1.6):
        odds = factor * GOOD / (1 - GOOD)
        record = evaluate(POINTS.rows(odds / (1 + odds), GOOD), SCENES, 100, (1,))
        assert record.headline.change["scaled_log_loss"].value == pytest.approx(0, abs=1e-6)
        assert record.headline.change["log_loss"].value > 0.003


def test_a_champion_that_has_seen_the_day_is_not_compared(ready: Path) -> None:
    trained(register(ready, "good"))
    later = register(ready, "other", on=DAY.replace(day=19))
    registry.promote(later.version, reason="later", by="test")
    record = evaluation.run(DAY, get_settings())
    assert record.champion.status == "seen"
    assert "honest comparison is not possible" in record.champion.note
    assert record.headline.change is None
    assert predictions.read(evaluation.Lake(get_settings().lake_url), DAY).champion is None
    assert gate.run(DAY, True, get_settings()).verdict == "reject"


def test_the_gate_refuses_an_evaluation_with_an_older_champion(ready: Path) -> None:
    trained(register(ready, "good"))
    evaluation.run(DAY, get_settings())
    registry.promote(register(ready, "other", on=DAY.replace(day=16)).version, reason="by hand", by="test")
    with pytest.raises(InvalidInputError, match="clear the evaluate task"):
        gate.run(DAY, True, get_settings())


def test_the_oracle_gives_the_best_auc_where_the_truth_is_known(ready: Path) -> None:
    trained(register(ready, "good"))
    folder = ready / f"oracle/date={DAY}"
    folder.mkdir(parents=True)
    truth = sigmoid(POINTS.logit)
    lines = ["user_id,item_id,log_time,source_file,source_row,probability"]
    lines += [f"u,i,t,part.csv,{n},{value:.9f}" for n, value in enumerate(truth)]
    (folder / "oracle.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    best = evaluation.run(DAY, get_settings()).oracle
    assert best.auc == pytest.approx(metrics.auc(POINTS.label, truth), abs=1e-5)
    assert best.rows == ROWS
    assert set(best.scenes) == set(SCENES)


def test_evaluation_without_candidate_or_rows_says_what_to_do(ready: Path) -> None:
    with pytest.raises(MissingDataError, match="train --day"):
        evaluation.run(DAY, get_settings())
    trained(register(ready, "good"))
    lake = publish(POINTS)
    manifest = lake.read_json(f"_manifests/training/dt={DAY}.json")
    manifest["tables"]["training"]["rows"] = ROWS + 1
    lake.write_json(f"_manifests/training/dt={DAY}.json", manifest)
    with pytest.raises(CtrError, match=f"read {ROWS} rows"):
        evaluation.run(DAY, get_settings())
