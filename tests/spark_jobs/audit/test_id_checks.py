"""Ids that merge or split users and items warn, with their rows and the mapping's key that repairs them."""

import pandas as pd
import pytest

from include.schemas import DEEP_FEATURES
from include.settings import get_settings

pytestmark = pytest.mark.spark

ROWS = 1_000
HONEST = [f"u{n % 100}" for n in range(ROWS)]


@pytest.fixture
def checked(spark, lake):
    """Returns the profile and the checks of a day whose rows have these users and items."""

    def check(users, items=None, past=()):
        from spark_jobs.audit.log_checks import log_checks

        items = items or [f"i{n % 50}" for n in range(len(users))]
        events = [f"date=2023-07-10/a.csv#{n}" for n in range(len(users))]
        deep = dict.fromkeys(DEEP_FEATURES, 0.5)
        frame = spark.createDataFrame(pd.DataFrame({"event_id": events, "user_id": users, "item_id": items} | deep))
        profile, checks = log_checks(frame, len(users), list(past))
        return profile["ids"], {(check.name, check.column): check for check in checks if check.column in profile["ids"]}

    return check


def warnings(checks) -> set[tuple[str, str]]:
    return {key for key, check in checks.items() if check.status != "pass"}


def test_ordinary_ids_pass(checked):
    profile, checks = checked(HONEST)
    assert warnings(checks) == set()
    assert len(checks) == 6
    assert profile == {"user_id": {"respelled": 0}, "item_id": {"respelled": 0}}


def test_a_user_with_a_large_share_is_named_masked(checked):
    _, checks = checked(["bot"] * 60 + HONEST[60:], ["top"] * 600 + [f"i{n}" for n in range(400)])
    assert warnings(checks) == {("expect_no_dominant_id", "user_id"), ("expect_no_dominant_id", "item_id")}
    user, item = (checks["expect_no_dominant_id", column] for column in ("user_id", "item_id"))
    assert user.observed.startswith("masked ")
    assert user.observed.endswith(": 6.00% (60 of 1,000 rows)")
    assert (user.failing_rows, user.measure.high, user.severity) == (60, 0.05, "warning")
    assert item.observed == "top: 60.00% (600 of 1,000 rows)"


def test_few_rows_say_nothing_about_shares(checked):
    _, checks = checked(["u"] * 40)
    assert warnings(checks) == set()


def test_words_for_no_id_are_listed_for_the_mapping(checked):
    words = ["\\N", "\\N", "NULL", "null", "NaN", "-", "None", "-1", "undefined"]
    items = ["n/a"] + [f"i{n}" for n in range(len(words) + len(HONEST) - 1)]
    _, checks = checked([*words, *HONEST], items)
    assert warnings(checks) == {("expect_no_null_words", "user_id"), ("expect_no_null_words", "item_id")}
    user = checks["expect_no_null_words", "user_id"]
    assert user.failing_rows == 9
    assert user.observed.startswith("\\N (2 rows), ")
    assert '"\\\\N"' in user.observed  # YAML's double quotes need the backslash twice
    assert checks["expect_no_null_words", "item_id"].observed == (
        'n/a (1 rows); where they mean none, add to the mapping antm2c: nulls: ["n/a"]'
    )


def test_two_spellings_of_an_id_name_the_mapping_rule(checked, monkeypatch):
    monkeypatch.setenv("CTR_SENSITIVE_COLUMNS", "")
    get_settings.cache_clear()
    profile, checks = checked(["123", "123.0", "00123", "10.0", "10.5", "1.50", "0", "0.0", "A0.0", *HONEST])
    assert warnings(checks) == {("expect_one_spelling_of_an_id", "user_id")}
    check = checks["expect_one_spelling_of_an_id", "user_id"]
    assert check.observed.startswith("2 ids in two ways (5 rows); `ids: integer` in the mapping antm2c")
    assert (check.failing_rows, check.measure.value) == (5, 2)
    assert [row["user_id"] for row in check.sample] == ["0", "0.0", "00123", "123"]
    assert check.sample[0]["event_id"].endswith("#6")
    assert profile["user_id"] == {"respelled": 4}


def test_a_day_spelled_otherwise_than_those_before(checked):
    """A column of whole numbers becomes one of floats where a single value is missing: every user is new."""
    floats = [f"{n % 100 + 1}.0" for n in range(ROWS)]
    _, checks = checked(floats, past=[{"rows": 900, "ids": {"user_id": {"respelled": 0}}}, {"rows": 900}])
    assert warnings(checks) == {("expect_one_spelling_of_an_id", "user_id")}
    assert "100% of the rows have ids such as 123.0 or 00123, on the days before 0%" in (
        checks["expect_one_spelling_of_an_id", "user_id"].observed
    )
    _, checks = checked(floats, past=[{"rows": 900, "ids": {"user_id": {"respelled": 900}}}])
    assert warnings(checks) == set()
