"""Values far beyond what a deep feature held warn with column, rows and values; healthy days do not, however they are spread."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from include.raw.raw_mapping import raw_mapping
from include.sample.day import generate_day
from include.sample.world import World
from include.schemas import DEEP_FEATURES
from spark_jobs.audit.value_checks import usual_range

PROBABILITIES = (0, 0.001, 0.01, 0.05, 0.95, 0.99, 0.999, 1)


def quantiles(values) -> list[float]:
    return np.quantile(values, PROBABILITIES, method="nearest").tolist()


def beyond(values, past) -> int:
    """The number of values outside the range that earlier days make usual."""
    low, high = usual_range(quantiles(values), [(len(day), quantiles(day)) for day in past])
    return int(((values < low) | (values > high)).sum())


SPREADS = {
    "normal": lambda random, rows: random.normal(size=rows),
    "uniform": lambda random, rows: random.uniform(0, 100, size=rows),
    "lognormal": lambda random, rows: random.lognormal(0, 2, size=rows),
    "counts": lambda random, rows: random.poisson(0.02, size=rows).astype(float),
    "time": lambda random, rows: 1.69e9 + random.uniform(0, 86_400, size=rows),
    "constant": lambda random, rows: np.full(rows, 0.5),
}


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize("days", [0, 1, 3, 7])
def test_healthy_days_have_no_values_beyond(spread, days):
    random = np.random.default_rng(1)
    past = [SPREADS[spread](random, 20_000) for _ in range(days)]
    assert [beyond(SPREADS[spread](random, 20_000), past) for _ in range(20)] == [0] * 20


@pytest.mark.parametrize("spread", ["normal", "uniform", "constant", "counts", "time"])
@pytest.mark.parametrize("days", [0, 1, 3, 7])
def test_one_extreme_value_is_beyond_on_every_day(spread, days):
    """Also where the days before had one each: it is never taken for usual."""
    random = np.random.default_rng(2)
    past = [np.append(SPREADS[spread](random, 1_499), 3.4028234663852886e38) for _ in range(days)]
    assert beyond(np.append(SPREADS[spread](random, 1_499), 3.4028234663852886e38), past) == 1


@pytest.mark.parametrize(("spread", "days"), [("normal", 0), ("normal", 1), ("normal", 7), ("uniform", 3)])
def test_a_number_that_stands_for_missing_is_beyond(spread, days):
    random = np.random.default_rng(3)
    values = SPREADS[spread](random, 3_000)
    values[:60] = -9999
    assert beyond(values, [SPREADS[spread](random, 3_000) for _ in range(days)]) == 60


def test_a_column_in_other_units_is_beyond():
    random = np.random.default_rng(4)
    past = [random.normal(size=3_000) for _ in range(3)]
    assert beyond(1_000 * random.normal(size=3_000), past) > 2_700


def test_one_bad_day_does_not_widen_the_range():
    random = np.random.default_rng(5)
    past = [random.normal(size=3_000) for _ in range(3)] + [np.full(3_000, -9999.0)]
    assert beyond(np.append(random.normal(size=2_999), -9999), past) == 1


@pytest.fixture
def checked(spark, lake):
    """Returns the profile and the checks of a day with these deep features."""

    def check(columns, past=()):
        from spark_jobs.audit.log_checks import log_checks

        rows = len(next(iter(columns.values())))
        frame = pd.DataFrame({name: np.full(rows, np.nan) for name in DEEP_FEATURES} | columns)
        frame = frame.assign(
            event_id=[f"date=2023-07-10/a.csv#{n}" for n in range(rows)], scene="0", user_id="u", item_id="i"
        )
        logs = spark.createDataFrame(frame).replace(float("nan"), None, list(DEEP_FEATURES))
        profile, checks = log_checks(logs, rows, list(past))
        return profile["quantiles"], {check.column: check for check in checks if check.name == "expect_usual_values"}

    return check


@pytest.mark.spark
def test_the_rows_that_lie_farthest_out_are_listed(checked):
    random = np.random.default_rng(6)
    days = [checked({"deep_features_0": random.normal(size=600)})[0] for _ in range(3)]
    past = [{"rows": 600, "quantiles": day} for day in days]
    values = random.normal(size=600)
    values[[7, 8, 9]] = [-9999, 3.4028234663852886e38, -9999]
    profile, checks = checked({"deep_features_0": values, "deep_features_1": np.full(600, 0.5)}, past)
    assert list(checks) == list(DEEP_FEATURES)
    assert [name for name, check in checks.items() if check.status != "pass"] == ["deep_features_0"]
    check = checks["deep_features_0"]
    assert (check.severity, check.failing_rows, check.measure.value) == ("warning", 3, 3)
    assert check.observed == "3 rows beyond, such as 3.4028234663852886e+38, -9999.0"
    assert check.expected.endswith("from the last 3 days")
    assert check.sample[0] == {"event_id": "date=2023-07-10/a.csv#8", "scene": "0", "deep_features_0": values[8]}
    assert {name: len(found) for name, found in profile.items()} == {"deep_features_0": 8, "deep_features_1": 8}
    assert checks["deep_features_2"].expected == "nothing to compare: no values"


@pytest.mark.spark
def test_generated_days_pass_with_and_without_a_history(checked):
    world = World(17, 3_000, ("0", "1", "2", "3", "4"))
    past = []
    for n in range(5):
        columns = generate_day(world, date(2023, 7, 10) + timedelta(days=n)).columns
        deep = {name: pd.to_numeric(pd.Series(columns[name]), errors="coerce").to_numpy() for name in DEEP_FEATURES}
        profile, checks = checked(deep, past)
        assert {check.status for check in checks.values()} == {"pass"}
        past.append({"rows": len(deep["deep_features_0"]), "quantiles": profile})


@pytest.mark.spark
def test_a_column_declared_absent_has_no_check(checked, monkeypatch):
    absent = ("item_title", *DEEP_FEATURES[1:])
    monkeypatch.setattr(type(raw_mapping()), "absent", lambda _: absent)
    _, checks = checked({"deep_features_0": np.zeros(20)})
    assert list(checks) == ["deep_features_0"]
