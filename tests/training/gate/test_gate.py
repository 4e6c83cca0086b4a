"""The gate promotes what is better, blocks what is worse, and holds nothing for want of evidence."""

from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import sample_records
from model_versions import model_version
from scored_days import SCENES, Day, make_day, model, sigmoid

from include.errors import InvalidInputError
from include.records import Comparison
from include.registry.model_version import ModelVersion
from include.setting_groups import PROJECT
from training.evaluate.day_metrics import evaluate
from training.evaluate.predictions import EvaluationRows
from training.gate import gate
from training.gate.gate import Judgement, Past, judge, lineage_rules, outdated_rules, reasons_of, verdict_of
from training.gate.policy import load_policy
from training.gate.rules import Levels, Pcoc, Rule, Sum, beside_anchor, beside_champion, calibrated

POLICY = load_policy(PROJECT / "include/policies/gate.yaml")
DAY = date(2023, 7, 17)
ANCHOR = sample_records.evaluated(1, date(2023, 7, 1))


def judgement(rows: EvaluationRows, past: Past | None = None, resamples: int = 300) -> Judgement:
    metrics = evaluate(rows, SCENES, resamples, (0,), cells=False)
    return judge(metrics, None if rows.anchor is None else ANCHOR, POLICY, past or Past())


def judged(rows: EvaluationRows, past: Past | None = None) -> tuple[str, dict[str, Rule]]:
    rules = judgement(rows, past).rules
    return verdict_of(rules), {rule.name: rule for rule in rules}


@pytest.fixture(scope="module")
def day() -> Day:
    return make_day(20_000, seed=4)


def test_a_better_candidate_is_promoted(day: Day) -> None:
    verdict, rules = judged(day.rows(model(day, 1, noise=0.3), model(day, 2, noise=1.5)))
    assert verdict == "promote"
    assert rules["auc"].evidence["change"] > 0.03
    assert reasons_of(list(rules.values()), verdict) == [rules["auc"].sentence, rules["log loss"].sentence]


def test_a_worse_candidate_is_rejected(day: Day) -> None:
    verdict, rules = judged(day.rows(model(day, 1, noise=2.0), model(day, 2, noise=0.3)))
    assert verdict == "reject"
    assert rules["auc"].verdict == rules["log loss"].verdict == "reject"


def test_equal_candidates_are_promoted_even_without_certainty() -> None:
    verdicts, doubtful = Counter(), 0
    for seed in range(30):
        equal = make_day(5_000, 100 + seed)
        rows = equal.rows(model(equal, 2 * seed, own=0.3), model(equal, 2 * seed + 1, own=0.3))
        rules = judgement(rows, resamples=100).rules
        verdicts[verdict_of(rules)] += 1
        doubtful += any("cannot tell" in rule.sentence for rule in rules if rule.name == "auc")
    assert doubtful > 15
    # At the nominal 5 % fewer than 26 promotions in 30 nights come up once in a hundred such tests.
    assert verdicts["promote"] >= 26
    assert verdicts["reject"] == 0


def test_a_better_candidate_broken_on_one_scene_is_rejected(day: Day) -> None:
    broken = model(day, 1, noise=0.4, where=day.scene == "4")
    verdict, rules = judged(day.rows(broken, model(day, 2, noise=0.9)))
    assert verdict == "reject"
    assert rules["auc of scene 4"].verdict == "reject"
    assert rules["auc"].verdict != "reject"


def test_a_candidate_that_is_broken_on_cold_items_is_rejected(day: Day) -> None:
    broken = model(day, 1, noise=0.4, where=day.item_level == "zero")
    verdict, rules = judged(day.rows(broken, model(day, 2, noise=0.9)))
    assert verdict == "reject"
    assert rules["cold items"].verdict == "reject"


def test_too_few_cold_rows_are_insufficient_and_do_not_block(day: Day) -> None:
    few = replace(day, item_level=np.where(np.arange(len(day.label)) < 50, "zero", "warm"))
    broken = model(few, 1, noise=0.4, where=few.item_level == "zero")
    _, rules = judged(few.rows(broken, model(few, 2, noise=0.9)))
    assert rules["cold items"].verdict == "note"
    assert "insufficient" in rules["cold items"].sentence


def test_scenes_of_a_handful_of_rows_are_compared_together(day: Day) -> None:
    scene = day.scene.copy()
    scene[:150] = np.repeat(["0", "1", "2"], 50)
    scene[150:] = "3"
    small = replace(day, scene=scene)
    metrics = evaluate(small.rows(model(day, 1), model(day, 2)), SCENES, 300, (0,), cells=False)
    assert metrics.small_scenes == ["0", "1", "2"]
    record = judge(metrics, None, POLICY, Past())
    names = [comparison.name for comparison in record.comparisons]
    assert names == ["auc", "log loss", "auc of scene 3", "cold users", "cold items", "auc of small scenes"]
    rule = next(rule for rule in record.rules if rule.name == "auc of small scenes")
    assert "small scenes together (0, 1, 2)" in rule.sentence


def test_a_base_rate_jump_that_moves_both_models_holds_nothing(day: Day) -> None:
    verdict, rules = judged(day.rows(*(np.clip(0.75 * model(day, seed), 0, 1) for seed in (1, 2))))
    assert verdict == "promote"
    assert rules["pcoc"].evidence["value"] < 0.8
    assert rules["pcoc"].evidence["champion"] == pytest.approx(rules["pcoc"].evidence["value"], abs=0.02)


def test_a_candidate_with_unusually_bad_calibration_is_held(day: Day) -> None:
    """Its PCOC is farther from 1 than on the nights before, and than the champion's."""
    rows = day.rows(np.clip(1.4 * model(day, 1), 0, 1), model(day, 2))
    calm = Past(pcoc={"all": [0.03, -0.04, 0.02, 0.05, -0.03, 0.01]})
    assert judged(rows, calm)[1]["pcoc"].verdict == "hold"
    jumping = Past(pcoc={"all": [0.2, -0.3, 0.25, 0.1, -0.2, -0.35]})
    assert judged(rows, jumping)[1]["pcoc"].verdict == "pass"


def test_probabilities_that_no_jump_explains_are_rejected(day: Day) -> None:
    """They are only noted where the champion's are as far off."""
    tripled = np.clip(3 * model(day, 1), 0, 1)
    assert judged(day.rows(tripled, model(day, 2)))[1]["pcoc"].verdict == "reject"
    assert judged(day.rows(tripled))[1]["pcoc"].verdict == "reject"
    assert judged(day.rows(tripled, np.clip(4 * model(day, 2), 0, 1)))[1]["pcoc"].verdict == "note"


def test_distorted_probabilities_with_the_right_sum_are_rejected(day: Day) -> None:
    """The log loss shows what PCOC cannot."""
    bent = model(day, 1) ** 2
    scaled = np.clip(bent * model(day, 1).sum() / bent.sum(), 0, 1)
    verdict, rules = judged(day.rows(scaled, model(day, 2)))
    assert (verdict, rules["log loss"].verdict, rules["pcoc"].verdict) == ("reject", "reject", "pass")


def test_a_prediction_of_nan_rejects_and_nothing_else_is_judged(day: Day) -> None:
    candidate = model(day, 1)
    candidate[7] = np.nan
    verdict, rules = judged(day.rows(candidate, model(day, 2)))
    assert verdict == "reject"
    assert list(rules) == ["finite"]
    assert rules["finite"].evidence["wrong"] == 1


def test_a_champion_that_predicts_no_numbers_is_for_a_person(day: Day) -> None:
    champion = model(day, 2)
    champion[7] = np.inf
    assert judged(day.rows(model(day, 1), champion))[0] == "hold"


def test_an_auc_that_is_too_good_is_rejected_as_a_leak(day: Day) -> None:
    leaked = sigmoid(day.logit + 4 * day.label)
    leaked *= day.label.mean() / leaked.mean()
    verdict, rules = judged(day.rows(leaked, model(day, 2)))
    assert verdict == "reject"
    assert "leak" in rules["auc plausible"].sentence


def test_a_candidate_at_chance_is_rejected_even_without_champion(day: Day) -> None:
    chance = np.full(len(day.label), day.label.mean())
    verdict, rules = judged(day.rows(chance))
    assert verdict == "reject"
    assert rules["auc above chance"].verdict == "reject"


def test_the_first_model_is_judged_by_absolute_checks_only(day: Day) -> None:
    verdict, rules = judged(day.rows(model(day, 1)))
    assert verdict == "promote"
    assert "auc" not in rules


def test_outdated_models_are_named_with_their_days() -> None:
    replaced, new, old = {date(2023, 7, 12): 0.12}, version(2, day=17, through=16), version(1, day=16, through=15)
    rules = outdated_rules(new, old, {1: replaced, 2: replaced})
    assert [(rule.name, rule.verdict) for rule in rules] == [("outdated", "hold"), ("outdated", "note")]
    assert "2023-07-12 (12%)" in rules[1].sentence
    assert outdated_rules(new, old, {}) == []


def comparison(change: float, se: float) -> Comparison:
    low, high = change - 1.96 * se, change + 1.96 * se
    return Comparison(
        name="auc",
        what="AUC",
        family="overall",
        clicks=999,
        matters=0.01,
        candidate=0.7 + change,
        other=0.7,
        change=change,
        low=low,
        high=high,
        se=se,
        lacks=None,
    )


@pytest.mark.parametrize(
    ("change", "se", "expected", "says"),
    [
        (0.005, 0.001, "pass", "It is better"),
        (0.0, 0.001, "pass", "is ruled out"),
        (-0.005, 0.001, "pass", "is ruled out"),
        (-0.02, 0.001, "reject", "beyond doubt"),
        (-0.02, 0.006, "hold", "not beyond doubt"),
        (-0.009, 0.001, "hold", "is not ruled out"),
        (-0.02, 0.02, "note", "cannot tell whether it is worse: they show losses of 0.0980 or more only"),
        (0.0, 0.02, "note", "cannot tell"),
    ],
)
def test_a_loss_is_ruled_out_proven_suspected_or_undecidable(
    change: float, se: float, expected: str, says: str
) -> None:
    rule = beside_champion(comparison(change, se), Levels.of(POLICY.risks, 2))
    assert rule.verdict == expected
    assert says in rule.sentence


def test_a_detectable_loss_passes_only_at_the_accepted_rate() -> None:
    random, levels = np.random.default_rng(1), Levels.of(POLICY.risks, 2)
    verdicts = Counter(
        beside_champion(comparison(-levels.sees(0.01) + 0.01 * random.normal(), 0.01), levels).verdict
        for _ in range(2000)
    )
    assert 1 - (verdicts["hold"] + verdicts["reject"]) / 2000 == pytest.approx(POLICY.risks.promote, abs=0.006)


def since(losses: list[float], se: float) -> tuple[Sum, Rule]:
    total, levels = Sum(), Levels.of(POLICY.risks, 10)
    for loss in losses:
        total = total.with_night(loss - 0.01, se)
    return total, beside_anchor(comparison(-losses[-1], se), total, levels, ANCHOR, better=False)


def test_small_nightly_losses_are_stopped_once_their_sum_matters() -> None:
    assert since([0.0, 0.002, 0.004, 0.006, 0.008], 0.004)[1].verdict == "note"
    _, rule = since([0.01, 0.014, 0.018, 0.02, 0.022], 0.004)
    assert rule.verdict == "hold"
    assert "Over 5 nights" in rule.sentence
    assert "ctr rollback --to 1" in rule.sentence
    assert since([0.03] * 6, 0.004)[1].verdict == "reject"


def test_one_bad_night_does_not_hold_the_good_one_after_it() -> None:
    assert since([0.0, 0.2], 0.004)[1].verdict == "reject"
    assert since([0.0, 0.2, 0.0], 0.004)[1].verdict == "pass"


def test_lines_that_are_as_good_as_the_anchor_are_rarely_held() -> None:
    random, levels, held = np.random.default_rng(2), Levels.of(POLICY.risks, 1), 0
    for _ in range(200):
        total = Sum()
        for _ in range(14):
            loss = 0.01 + 0.01 * random.normal()  # the margin is used up
            total = total.with_night(loss - 0.01, 0.01)
            held += beside_anchor(comparison(-loss, 0.01), total, levels, ANCHOR, better=False).verdict == "hold"
    assert held / (200 * 14) <= levels.hold


def test_the_anchor_shows_a_scene_broken_in_the_champion_too(day: Day) -> None:
    broken = [model(day, seed, where=day.scene == "0") for seed in (1, 2)]
    first = judgement(day.rows(*broken, model(day, 3)))
    past = Past(ANCHOR.version, first.sums)
    second = judgement(day.rows(*broken, model(day, 3)), past)
    names = [rule.name for rule in second.rules if rule.verdict in ("hold", "reject")]
    assert names == ["auc of scene 0 since the anchor"]
    assert second.loss_is_proven
    assert second.sums["auc of scene 0"].nights == 2
    assert judgement(day.rows(*broken, model(day, 3)), Past(7, first.sums)).sums["auc of scene 0"].nights == 1


def test_a_candidate_that_mends_a_broken_champion_is_not_held(day: Day) -> None:
    lost = model(day, 2, where=day.scene == "2")
    better = np.where(day.scene == "2", 0.5 * lost + 0.5 * model(day, 1), model(day, 1))
    rows = day.rows(better, lost, model(day, 3))
    past = Past(ANCHOR.version, dict.fromkeys(("auc", "auc of scene 2"), Sum((9.0, 9.0, 9.0, 9.0), 3)))
    verdict, rules = judged(rows, past)
    assert rules["auc of scene 2 since the anchor"].evidence["loss_shown"]
    assert "the candidate is better than the champion" in rules["auc of scene 2 since the anchor"].sentence
    assert verdict == "promote"


def test_the_usual_error_of_pcoc_comes_from_earlier_nights() -> None:
    """Nothing is unusual where there are no earlier nights."""
    levels = Levels.of(POLICY.risks, 1)
    far = Pcoc("all", "pcoc", "PCOC", 1.45, 1.43, 1.47, 1.02, [])
    assert calibrated(far, levels, POLICY.calibration).verdict == "pass", "nothing is known of this log yet"
    assert calibrated(replace(far, earlier=[0.02] * 10), levels, POLICY.calibration).verdict == "hold"
    assert calibrated(replace(far, earlier=[0.02] * 10, champion=1.6), levels, POLICY.calibration).verdict == "pass"


def version(number: int, *, day: int, through: int, base: int | None = None, **fields: object) -> ModelVersion:
    days = {"log_day": date(2023, 7, day), "trained_through": date(2023, 7, through)}
    return model_version(number, base_version=base, promoted_at=None, **days, **fields)


def lineage(candidate: ModelVersion, champion: ModelVersion | None, versions: list[ModelVersion], monkeypatch) -> str:
    monkeypatch.setattr(gate.registry, "versions", lambda: versions)
    status = gate.champion_status(champion, candidate, DAY)
    return verdict_of(lineage_rules(candidate, champion, status, DAY, POLICY))


def test_a_candidate_whose_line_has_seen_the_day_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    base = version(1, day=18, through=17)
    honest, warm_started = version(2, day=17, through=16), version(3, day=17, through=16, base=1)
    versions = [base, honest, warm_started]
    assert lineage(honest, None, versions, monkeypatch) == "promote"
    assert lineage(warm_started, None, versions, monkeypatch) == "reject"
    assert lineage(version(4, day=17, through=17), None, versions, monkeypatch) == "reject"


def test_a_champion_that_has_seen_the_day_rejects_the_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate that is the champion itself is promoted."""
    candidate, later = version(1, day=17, through=16), version(2, day=18, through=17)
    assert lineage(candidate, later, [candidate, later], monkeypatch) == "reject"
    assert lineage(candidate, candidate, [candidate, later], monkeypatch) == "promote"


def test_a_candidate_that_was_rolled_back_is_for_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_back = version(2, day=17, through=16, rolled_back_at="2023-07-18T09:00:00+00:00")
    champion = version(1, day=16, through=15)
    assert lineage(taken_back, champion, [taken_back, champion], monkeypatch) == "hold"


def test_a_policy_that_rejects_sooner_than_it_holds_is_refused(tmp_path: Path) -> None:
    text = (PROJECT / "include/policies/gate.yaml").read_text()
    path = tmp_path / "policy.yaml"
    path.write_text(text.replace("reject: 0.001", "reject: 0.1"))
    with pytest.raises(InvalidInputError, match=r"the risk to reject is 0\.1, above 0\.05"):
        load_policy(path)


@pytest.mark.parametrize("text", ["alpha: 0.05", "name: x\nmargins: 3", "[1, 2", "alpha: yes"])
def test_an_invalid_policy_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=r"policy\.yaml is not valid(?s:.*)gate\.yaml shows"):
        load_policy(path)
