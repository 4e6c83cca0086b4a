"""How many rows two builds differ in, estimated from what each has left; shares against a plain count."""

import pytest
from datasketches import update_theta_sketch

from include.lake.lake import get_lake
from include.lake.row_sketch import LG_SIZE, differing_share, logged_columns, write_sketch
from include.settings import get_settings

DAY = "2023-07-17"


@pytest.fixture
def lake(home):
    return get_lake()


def leave(lake, build: str, rows: set[str], clicks: set[str]) -> None:
    sketches = {"rows": update_theta_sketch(LG_SIZE), "clicks": update_theta_sketch(LG_SIZE)}
    for part, values in (("rows", rows), ("clicks", clicks)):
        for value in sorted(values):
            sketches[part].update(value)
    write_sketch(lake, DAY, build, {part: sketch.compact().serialize() for part, sketch in sketches.items()})


def numbered(first: int, last: int) -> set[str]:
    return {str(number) for number in range(first, last)}


@pytest.mark.parametrize(("rows", "changed"), [(1000, 20), (1000, 0), (50_000, 1000), (50_000, 10_000)])
def test_the_share_is_that_of_a_count(lake, rows, changed):
    leave(lake, "a", numbered(0, rows), set())
    leave(lake, "b", numbered(changed, rows + changed), set())
    expected = changed / rows
    error = 0 if rows <= 2**LG_SIZE else 4 * (expected * (1 - expected) / 2**LG_SIZE) ** 0.5
    assert differing_share(lake, DAY, "a", "b") == pytest.approx(expected, abs=error)


def test_rows_that_came_later_count(lake):
    leave(lake, "a", numbered(0, 500), set())
    leave(lake, "b", numbered(0, 1000), set())
    assert differing_share(lake, DAY, "a", "b") == 0.5
    assert differing_share(lake, DAY, "b", "a") == 0.5


def test_lost_clicks_count_as_a_share_of_the_clicks(lake):
    leave(lake, "a", numbered(0, 1000), numbered(0, 10))
    leave(lake, "b", numbered(0, 1000), numbered(0, 5))
    assert differing_share(lake, DAY, "a", "b") == 0.5


def test_empty_days_are_equal(lake):
    for build in "ab":
        leave(lake, build, set(), set())
    assert differing_share(lake, DAY, "a", "b") == 0


def test_other_settings_differ_in_every_row(lake, monkeypatch):
    leave(lake, "a", numbered(0, 10), set())
    monkeypatch.setenv("CTR_CTR_SMOOTHING", "5")
    get_settings.cache_clear()
    leave(lake, "b", numbered(0, 10), set())
    assert differing_share(lake, DAY, "a", "b") == 1
    assert differing_share(lake, DAY, "a", "never built") == 1


def test_only_what_was_logged_is_compared():
    names = [
        "event_id",
        "user_id",
        "label",
        "user_level",
        "user_ctr_7d",
        "deep_features_0",
        "title_key",
        "scene_position",
    ]
    assert logged_columns(names) == ["user_id", "label", "deep_features_0", "title_key"]
