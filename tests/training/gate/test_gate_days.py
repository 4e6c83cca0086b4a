"""The gate over many days: equal candidates pass, worse ones do not, and planted bad days never get through."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom
from scored_days import SCENES, Day, calibrated, make_day, model, sigmoid

from include.setting_groups import PROJECT
from training.evaluate.day_metrics import evaluate
from training.evaluate.predictions import EvaluationRows
from training.gate.gate import Past, judge, verdict_of
from training.gate.policy import load_policy
from training.gate.rules import Rule

pytestmark = pytest.mark.long

POLICY = load_policy(PROJECT / "include/policies/gate.yaml")
ROWS = 20_000


def judged(rows: EvaluationRows, seed: int) -> list[Rule]:
    metrics = evaluate(rows, SCENES, 200, (seed,), cells=False)
    return judge(metrics, None, POLICY, Past()).rules


def rejected_by_a_change(rules: list[Rule]) -> bool:
    return any(rule.verdict == "reject" and "change" in rule.evidence for rule in rules)


def test_equal_candidates_are_blocked_at_most_at_nominal_rates() -> None:
    """Holds and rejections each keep to their rate; both models are the truth with a noise of the same size."""
    days = 60
    held = rejected = 0
    for number in range(days):
        day = make_day(5_000, 1_000 + number)
        rows = day.rows(model(day, 2 * number, own=1.0), model(day, 2 * number + 1, own=1.0))
        verdict = verdict_of(judged(rows, number))
        held += verdict == "hold"
        rejected += verdict == "reject"
    assert held <= binom.ppf(0.99, days, POLICY.risks.hold)
    assert rejected <= binom.ppf(0.99, days, POLICY.risks.reject)


def test_change_rules_reject_a_candidate_worse_than_the_margin() -> None:
    days = 10
    rejected = 0
    for number in range(days):
        day = make_day(ROWS, 2_000 + number)
        rows = day.rows(model(day, 2 * number, noise=2.0), model(day, 2 * number + 1, noise=0.7))
        rejected += rejected_by_a_change(judged(rows, number))
    assert rejected >= 0.9 * days


def flipped(day: Day, seed: int) -> np.ndarray:
    """Learnt from labels that were flipped in one scene: what is best is ranked last there."""
    good, wrong = model(day, seed), day.scene == "1"
    mirrored = good.copy()
    mirrored[wrong] = np.sort(good[wrong])[::-1][np.argsort(np.argsort(good[wrong]))]
    return calibrated(day, mirrored)


def zeroed(day: Day, seed: int) -> np.ndarray:
    """A feature arrived as 0: the model knows the scene and the user, and of the item nothing but noise."""
    rows = np.bincount(day.user)
    of_user = (np.bincount(day.user, weights=day.logit) / rows)[day.user]
    noise = np.random.default_rng([seed, 2]).normal(scale=0.3, size=len(day.label))
    return calibrated(day, sigmoid(0.5 * of_user + noise))


def stale(day: Day, seed: int) -> np.ndarray:
    """Features of an old snapshot: the same model sees them through more noise."""
    return model(day, seed, noise=2.0)


BAD: dict[int, Callable[[Day, int], np.ndarray]] = {3: flipped, 6: zeroed, 9: stale, 12: flipped, 15: zeroed, 18: stale}


@pytest.fixture(scope="module")
def verdicts() -> list[str]:
    """Twenty days in a row: the champion is the last promoted candidate, by the seed of its noise."""
    champion, rules = 0, []
    for number in range(1, 21):
        day = make_day(ROWS, 3_000 + number)
        candidate = BAD.get(number, model)(day, number)
        verdict = verdict_of(judged(day.rows(candidate, model(day, champion)), number))
        champion = number if verdict == "promote" else champion
        rules.append(verdict)
    return rules


def test_no_planted_bad_day_is_promoted(verdicts: list[str]) -> None:
    assert all(verdicts[number - 1] != "promote" for number in BAD)


def test_good_days_are_never_rejected_and_mostly_promoted(verdicts: list[str]) -> None:
    """They lie between planted bad days."""
    good = [verdict for number, verdict in enumerate(verdicts, 1) if number not in BAD]
    assert "reject" not in good
    assert good.count("promote") >= 12


def test_the_bad_days_are_rejected_without_a_person(verdicts: list[str]) -> None:
    assert [verdicts[number - 1] for number in BAD].count("reject") >= 5
