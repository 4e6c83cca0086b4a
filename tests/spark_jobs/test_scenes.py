"""Scenes of the settings: any text is the name of one, and one may be added or removed anywhere."""

from datetime import timedelta

import pytest
from duckdb_reference import equal_a_full_recompute
from small_days import DAY, build_only, csv_text, publish_logs, raw_row, read, run_stage, write_raw
from test_windows_and_joins import load, random_logs

from include.days.backfill_plan import plan
from include.settings import get_settings, list_text

pytestmark = pytest.mark.spark

NAMES = ("men's", 'the "new"', "50% off", "a, b", "back\\slash \\' {day}/x=1 ❤")
FIRST_DAYS = [DAY + timedelta(days=number) for number in range(4)]
CHANGED = DAY + timedelta(days=4)


def use_scenes(monkeypatch, names):
    monkeypatch.setenv("CTR_SCENES", list_text(names))
    get_settings.cache_clear()
    assert get_settings().scenes == tuple(names)


def random_days(days):
    """Logs of random histories by the names of this file."""
    named = dict(zip("01234", NAMES, strict=True))
    return {day: log.assign(scene=log["scene"].map(named)) for day, log in random_logs(4, days).items()}


def test_a_scene_is_added_anywhere(spark, lake, monkeypatch):
    """Published counts are by the scenes of before; the new day's, in other places, equal a recompute of all logs."""
    logs = random_days(6)
    old, added = [NAMES[4], NAMES[0], NAMES[2]], [NAMES[1], NAMES[3]]
    for day in FIRST_DAYS:
        logs[day] = logs[day][logs[day]["scene"].isin(old)].reset_index(drop=True)
    use_scenes(monkeypatch, old)
    load(spark, lake, {day: logs[day] for day in FIRST_DAYS})
    use_scenes(monkeypatch, [added[0], *old[:2], added[1], old[2]])
    assert {step.stage for step in plan(lake)} >= {"features"}
    assert "CTR_SCENES has changed from" in plan(lake)[0].reasons[0]
    for day in (CHANGED, CHANGED + timedelta(days=1)):
        publish_logs(lake, day, logs[day])
        build_only(
            spark, lake, "training", day
        )  # from the features of the day before, on the first day by other scenes
        build_only(spark, lake, "features", day)
        equal_a_full_recompute(spark, lake, {past: log for past, log in logs.items() if past <= day}, day)


def checked(spark, lake, stage, day):
    """The quality record of a stage's day; no critical check fails."""
    quality = run_stage(spark, lake, stage, day)
    assert [check.title for check in quality.checks if check.status == "fail"] == []
    return quality


def test_a_scene_is_removed_anywhere(spark, lake, monkeypatch):
    """Its counts stay among those of all scenes until they leave the window; every check of the days after passes."""
    logs = random_days(3)
    first, second, third = logs
    use_scenes(monkeypatch, NAMES)
    publish_logs(lake, first, logs[first])
    checked(spark, lake, "features", first)
    left = [NAMES[3], *NAMES[:2], NAMES[4]]
    use_scenes(monkeypatch, left)
    for day in (second, third):
        logs[day] = logs[day][logs[day]["scene"].isin(left)].reset_index(drop=True)
        publish_logs(lake, day, logs[day])
    checked(spark, lake, "training", second)
    sums = [check for check in checked(spark, lake, "features", second).checks if "_scenes_sum_" in check.name]
    assert {check.expected.rsplit(": ")[-1] for check in sums} == {NAMES[2]}
    build_only(spark, lake, "features", third)
    equal_a_full_recompute(spark, lake, logs, third)


def test_days_with_a_removed_scene_are_made_again(spark, lake, monkeypatch):
    """Its rows are in their logs; they are no training rows."""
    logs = random_days(1)
    use_scenes(monkeypatch, NAMES)
    load(spark, lake, logs)
    use_scenes(monkeypatch, NAMES[1:])
    for stage in ("training", "features"):
        checked(spark, lake, stage, DAY)
    equal_a_full_recompute(spark, lake, logs, DAY)
    rows = read(lake, "training")
    removed = int((logs[DAY]["scene"] == NAMES[0]).sum())
    assert (set(rows["scene"]), len(rows)) == ({*NAMES[1:]}, len(logs[DAY]) - removed)
    assert lake.manifest("training", DAY).profile["unlisted_scenes"] == {NAMES[0]: removed}


@pytest.mark.parametrize("number", [1, 60])
def test_any_number_of_scenes(spark, lake, monkeypatch, number):
    names = [f"scene {n}" for n in range(number)]
    use_scenes(monkeypatch, names)
    for day, log in random_logs(5, 2).items():
        publish_logs(lake, day, log.assign(scene=[names[n % number] for n in range(len(log))]))
        checked(spark, lake, "features" if day == DAY else "training", day)
    assert read(lake, "training", day)["scene_position"].nunique() == number


def test_a_scene_that_was_left_out_for_a_day_comes_back(spark, lake, monkeypatch):
    """Its rows are in the days before, though not among yesterday's counts."""
    logs = random_days(9)
    use_scenes(monkeypatch, NAMES)
    for day, log in logs.items():
        without = day == CHANGED
        use_scenes(monkeypatch, NAMES[:4] if without else NAMES)
        publish_logs(lake, day, log[log["scene"] != NAMES[4]].reset_index(drop=True) if without else log)
        build_only(spark, lake, "features", day)
    logs[CHANGED] = logs[CHANGED][logs[CHANGED]["scene"] != NAMES[4]].reset_index(drop=True)
    equal_a_full_recompute(spark, lake, logs, max(logs))


def test_any_text_is_the_name_of_a_scene(spark, lake, monkeypatch):
    """Through ingest, features and training rows, with every check."""
    use_scenes(monkeypatch, NAMES)
    for day in FIRST_DAYS[:2]:
        rows = [raw_row(n, scene=NAMES[n % 5], log_time=f"{day} 01:{n // 60:02d}:{n % 60:02d}") for n in range(400)]
        write_raw(csv_text([*rows, raw_row(500, scene="another", log_time=f"{day} 02:00:00")]), day=day)
        for stage in ("logs", "training", "features"):
            assert run_stage(spark, lake, stage, day).status != "fail"
    logs = read(lake, "logs", FIRST_DAYS[1])
    assert logs["scene"].value_counts().to_dict() == dict.fromkeys(NAMES, 80)
    assert read(lake, "quarantine", FIRST_DAYS[1])["reasons"].map(list).tolist() == [["unknown_scene"]]
    places = read(lake, "training", FIRST_DAYS[1]).groupby("scene")["scene_position"].unique()
    assert {name: place.tolist() for name, place in places.items()} == {name: [n] for n, name in enumerate(NAMES)}
