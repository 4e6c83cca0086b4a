"""The champion's figures are recorded only where they are honest, and a fall below what earlier days showed is flagged."""

import re
from datetime import date

import pytest
import sample_records
from sample_records import estimate, evaluated_champion, group

from include.metrics_records import Estimate, Figures, ModelEstimates
from include.records import Evaluation
from training.monitor.realised import BETTER, MIN_DAYS, changes, figures, worse

DAY = date(2023, 7, 17)


def evaluation(status: str = "unseen", auc: float | None = 0.7) -> Evaluation:
    whole = {metric: estimate(auc) for metric in BETTER}
    groups = [group(by, scene="0", champion=whole) for by in ("all", "scene", "cell")]
    champion = evaluated_champion(3, status=status, note="was trained on this day")
    headline = {"champion": whole if status == "unseen" else None}
    unusable = {"champion": 2}
    return sample_records.evaluation(DAY, champion=champion, headline=headline, groups=groups, unusable=unusable)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "not evaluated"),
        (sample_records.evaluation(DAY, champion=None), "no champion yet"),
        (evaluation("seen"), "version 3 was trained on this day"),
        (evaluation().model_copy(update={"headline": ModelEstimates()}), "2 predictions .* not numbers"),
    ],
)
def test_what_is_not_honest_is_not_told_but_the_reason_is(record: Evaluation | None, reason: str) -> None:
    result, note = figures(record)
    assert result is None
    assert re.search(reason, note)


def test_figures_are_of_all_rows_and_of_scenes() -> None:
    result, note = figures(evaluation())
    assert note is None
    assert result.all["auc"].value == 0.7
    assert set(result.scenes) == {"0"}


def of_all(**values: float | None) -> Figures:
    return Figures(all={metric: estimate(value) for metric, value in values.items()}, scenes={})


def test_a_figure_worse_than_all_earlier_days_showed_is_flagged() -> None:
    """Earlier days count with their intervals, and a better figure is no alarm."""
    earlier = [
        of_all(auc=0.70, log_loss=0.30, pcoc=1.00),
        of_all(auc=0.72, log_loss=0.31, pcoc=1.01),
        of_all(auc=0.74, log_loss=0.32, pcoc=1.02),
    ]
    assert not list(worse(changes(of_all(auc=0.695, log_loss=0.325, pcoc=1.025), earlier)))
    bad = changes(of_all(auc=0.68, log_loss=0.34, pcoc=0.98), earlier)
    assert [metric for _, metric, _ in worse(bad)] == ["auc", "log_loss", "pcoc"]
    auc = bad.all["auc"]
    assert (auc.days, auc.mean, auc.change, auc.worse) == (3, 0.72, -0.04, True)
    assert not list(worse(changes(of_all(auc=0.9, log_loss=0.1), earlier))), "better is no alarm"


def test_an_ece_above_its_own_interval_counts_as_shown_before() -> None:
    """The same value on a later day is not worse."""
    biased = Figures(all={"ece": Estimate(value=0.03, low=0.0, high=0.02)}, scenes={})
    assert changes(biased, [biased] * MIN_DAYS).all["ece"].worse is False


def test_what_one_side_cannot_tell_is_not_compared() -> None:
    assert changes(of_all(auc=None), [of_all(auc=0.7)]).all == {}
    assert changes(of_all(auc=0.7), [of_all(auc=None)]).all == {}
    assert changes(of_all(auc=0.7), []).all == {}


def test_a_scene_is_compared_with_itself() -> None:
    now = Figures(all={}, scenes={"0": {"auc": estimate(0.5)}, "new": {"auc": estimate(0.5)}})
    before = Figures(all={}, scenes={"0": {"auc": estimate(0.7)}})
    assert [(scene, metric) for scene, metric, _ in worse(changes(now, [before] * MIN_DAYS))] == [("0", "auc")]


def test_one_or_two_days_are_too_few_to_call_the_next_one_worse() -> None:
    change = changes(of_all(auc=0.5), [of_all(auc=0.7)] * (MIN_DAYS - 1))
    assert change.all["auc"].change == -0.2
    assert not list(worse(change))
