"""The gate is questioned where the candidates that it kept back were not worse."""

from datetime import date, timedelta

import pytest
from sample_records import decision, evaluation

from include.lake.lake import Lake, get_lake
from include.records import NotPromoted, Rule
from training.monitor.gate_watch import warnings, watch

FIRST = date(2023, 7, 1)
BLOCKED = [Rule("auc of scene 3", "hold", "", {}), Rule("auc", "pass", "", {})]


@pytest.fixture
def lake(home) -> Lake:
    return get_lake()


def night(lake: Lake, number: int, verdict: str, *, later: tuple[float, float] | None = None, **fields) -> None:
    """A night, and how its candidate did on the day after: change of log loss, and its lower bound."""
    day = FIRST + timedelta(days=number)
    known = {"champion": 1, "rules": BLOCKED, "verdict": verdict, "promoted": verdict == "promote"}
    lake.write_record(decision(day, number + 2, **known | fields))
    change = later and {"value": later[0], "low": later[1], "high": 1.0}
    held = NotPromoted(version=number + 2, log_day=day, verdict=verdict, change=change) if later else None
    lake.write_record(evaluation(day + timedelta(days=1), number + 3, not_promoted=held))


def test_candidates_that_were_no_worse_on_the_day_after_are_counted_with_what_they_cost(lake):
    for number in range(8):
        night(lake, number, "promote")
    night(lake, 8, "hold", later=(-0.002, -0.003))
    night(lake, 9, "hold", later=(0.001, -0.001))
    night(lake, 10, "reject", later=(0.02, 0.01))
    night(lake, 11, "hold", may_promote=False)
    summary = watch(lake, FIRST + timedelta(days=12))
    assert summary["outcomes"] == {"promoted": 8, "hold": 2, "reject": 1}
    assert (summary["nights"], summary["unproven"], summary["cost"]) == (11, 2, 0.002)
    assert summary["blocking"] == {"auc of scene 3": 3}
    (warning,) = warnings(summary)
    assert "kept back 2 of 11 candidates" in warning
    assert "auc of scene 3 (3)" in warning


def test_few_nights_and_proven_harm_warn_of_nothing(lake):
    for number in range(9):
        night(lake, number, "hold", later=(-0.002, -0.003))
    assert list(warnings(watch(lake, FIRST + timedelta(days=9)))) == []
    for number in range(40):
        night(lake, number, "reject", later=(0.02, 0.01))
    summary = watch(lake, FIRST + timedelta(days=40))
    assert summary["nights"] == 30
    assert list(warnings(summary)) == []
