"""The gate is questioned where the candidates that it kept back were not worse."""

from datetime import date, timedelta

import pytest
from sample_records import decision, evaluation

from include.lake.lake import Lake, get_lake
from include.metrics_records import Estimate
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
    held = None
    if later:
        change = Estimate(value=later[0], low=later[1], high=1.0)
        held = NotPromoted(version=number + 2, log_day=day, verdict=verdict, change=change)
    lake.write_record(evaluation(day + timedelta(days=1), number + 3, not_promoted=held))


def test_blocked_candidates_that_were_no_worse_are_counted(lake):
    """They are judged on the day after, and the summary says what blocking them cost."""
    for number in range(8):
        night(lake, number, "promote")
    night(lake, 8, "hold", later=(-0.002, -0.003))
    night(lake, 9, "hold", later=(0.001, -0.001))
    night(lake, 10, "reject", later=(0.02, 0.01))
    night(lake, 11, "hold", may_promote=False)
    gate = watch(lake, FIRST + timedelta(days=12))
    assert gate.outcomes == {"promoted": 8, "hold": 2, "reject": 1}
    assert (gate.nights, gate.unproven, gate.cost) == (11, 2, 0.002)
    assert gate.blocking == {"auc of scene 3": 3}
    (warning,) = warnings(gate)
    assert "kept back 2 of 11 candidates" in warning
    assert "auc of scene 3 (3)" in warning


def test_few_nights_and_proven_harm_warn_of_nothing(lake):
    for number in range(9):
        night(lake, number, "hold", later=(-0.002, -0.003))
    assert list(warnings(watch(lake, FIRST + timedelta(days=9)))) == []
    for number in range(40):
        night(lake, number, "reject", later=(0.02, 0.01))
    gate = watch(lake, FIRST + timedelta(days=40))
    assert gate.nights == 30
    assert list(warnings(gate)) == []
