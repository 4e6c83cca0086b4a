"""Honest windows are what a recount gives, leaky ones hold the label, and on noise only the leak scores."""

import json
import subprocess
import sys
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from budget import examples
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import orc
from sample_records import quality

from include.errors import MissingDataError
from include.lake.lake import Lake
from include.lake.manifest import Manifest, TableVersion, new_build
from include.setting_groups import PROJECT
from include.settings import Settings
from training.leak_demo.job import run, show
from training.leak_demo.log import Log, choose_days, read_log
from training.leak_demo.protocols import Protocol, split
from training.leak_demo.windows import MAX_MATCHES, calendar_counts, features, repeated_join, row_counts

pytestmark = pytest.mark.long

FIRST = date(2023, 7, 10)
RESAMPLES = 100


def noise(days: int, rows: int, seed: int = 0, users: int = 60) -> pd.DataFrame:
    """Impressions whose clicks depend on nothing."""
    rng = np.random.default_rng(seed)
    impressions = days * rows
    return pd.DataFrame(
        {
            "number": np.repeat(np.arange(days), rows),
            "user_id": [f"u{n}" for n in rng.integers(users, size=impressions)],
            "item_id": [f"i{n}" for n in rng.integers(users // 2, size=impressions)],
            "scene": rng.choice(["home page", "1"], size=impressions),
            "label": (rng.random(impressions) < 0.3).astype(np.int8),
            "second": rng.integers(86_400, size=impressions),
        }
    )


def publish(lake: Lake, frame: pd.DataFrame) -> None:
    """Publishes `logs` of every day of the frame as Spark does: the scene of a row is its folder."""
    for number, rows in frame.groupby("number"):
        day, build = FIRST + timedelta(days=int(number)), new_build()
        staging = lake.begin_staging("logs", day, build)
        for scene, part in rows.groupby("scene"):
            start = pd.Timestamp(day)
            table = pa.table(
                {
                    "event_id": [f"date={day}/part.csv#{n}" for n in part.index],
                    "user_id": part.user_id.tolist(),
                    "item_id": part.item_id.tolist(),
                    "log_ts": pa.array(start + pd.to_timedelta(part.second, unit="s"), pa.timestamp("ns")),
                    "label": pa.array(part.label, pa.int8()),
                }
            )
            folder = f"{lake.root}/{staging}/logs/scene={str(scene).replace(' ', '%20')}"
            lake.fs.makedirs(folder)
            orc.write_table(table, f"{folder}/part-0.orc")
        version = TableVersion(f"logs/dt={day}/build={build}", len(rows), 0, "")
        lake.finish_staging(
            Manifest("logs", str(day), build, {"logs": version}, len(rows), {}, "", ""), quality("logs", day)
        )
        lake.publish("logs", day)


def a_home(tmp_path: Path, frame: pd.DataFrame) -> Settings:
    settings = Settings(home=tmp_path, bootstrap_resamples=RESAMPLES)
    publish(Lake(settings.lake_url), frame)
    return settings


def a_log(frame: pd.DataFrame) -> Log:
    codes = {name: pd.factorize(frame[name])[0].astype(np.int64) for name in ("user_id", "item_id", "scene")}
    day = FIRST.toordinal() + frame.number.to_numpy(np.int64)
    label = frame.label.to_numpy(np.int64)
    return Log(day, codes["user_id"], codes["item_id"], codes["scene"], label, ("home page", "1"))


some_rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(0, 1)), min_size=1, max_size=60)


@given(some_rows, st.sampled_from([0, 1]), st.sampled_from([None, 1, 7]))
@examples(150)
def test_calendar_counts_are_those_of_a_recount_row_by_row(rows, lag, length):
    key, day, label = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    impressions, clicked = calendar_counts(key, day + 700_000, label, lag=lag, length=length)
    for index in range(len(rows)):
        last = day[index] - lag
        first = -1 if length is None else last - length + 1
        inside = (key == key[index]) & (day >= first) & (day <= last)
        assert (impressions[index], clicked[index]) == (inside.sum(), label[inside].sum())


@given(some_rows, st.sampled_from([None, 1, 7]))
@examples(100)
def test_row_counts_are_those_of_a_recount_row_by_row(rows, length):
    key, _, label = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    impressions, clicked = row_counts(key, label, length=length)
    for index in range(len(rows)):
        so_far = label[: index + 1][key[: index + 1] == key[index]][-(length or len(rows)) :]
        assert (impressions[index], clicked[index]) == (len(so_far), so_far.sum())


def test_the_honest_week_is_the_seven_days_before_the_rows_day():
    day = 700_000 + np.array([0, 1, 7, 8])
    impressions, clicked = calendar_counts(np.zeros(4, np.int64), day, np.array([1, 1, 0, 1]), lag=1, length=7)
    assert impressions.tolist() == [0, 1, 2, 2]  # day 7 sees days 0..6, day 8 sees 1..7
    assert clicked.tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize(("window", "leaks"), [("as_of", False), ("own_day", True), ("own_row", True)])
def test_evaluation_day_labels_change_only_leaky_features(window, leaks):
    frame = noise(9, 80)
    flipped = frame.assign(label=np.where(frame.number == 8, 1 - frame.label, frame.label))
    before, after = (features(a_log(one), window, 20.0) for one in (frame, flipped))
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    assert changed == ([name for name in before if "impressions" not in name] if leaks else [])


def test_the_repeated_join_is_a_merge_on_a_non_unique_key():
    log = a_log(noise(3, 40, users=8).drop_duplicates(["number", "user_id", "item_id", "second"]))
    left, right = repeated_join(log)
    keys = pd.DataFrame({"user": log.user, "item": log.item, "day": log.day, "row": np.arange(len(log.day))})
    keys = keys[keys.groupby(["user", "item", "day"]).row.transform("size") <= MAX_MATCHES]
    merged = keys.merge(keys, on=["user", "item", "day"])
    inside = np.isin(left, keys.row)
    assert set(zip(left[inside], right[inside], strict=True)) == set(zip(merged.row_x, merged.row_y, strict=True))
    assert inside.sum() == len(merged) > len(keys)
    assert np.bincount(left).max() <= MAX_MATCHES


def test_the_random_split_evaluates_as_many_rows_of_all_days():
    day = np.repeat([1, 2, 3], [50, 50, 30])
    assert split(Protocol("", "as_of"), day, 0).tolist() == (day == 3).tolist()
    drawn = split(Protocol("", "as_of", random_split=True), day, 0)
    assert drawn.sum() == 30
    assert set(day[drawn]) == {1, 2, 3}


def test_a_sample_has_whole_users_and_no_day_above_the_limit(tmp_path):
    frame = noise(4, 300)
    lake = Lake(a_home(tmp_path, frame).lake_url)
    days = lake.days("logs")
    everything, sample = read_log(lake, days, 10_000, 0), read_log(lake, days, 100, 0)
    assert len(everything.day) == len(frame)
    per_day = np.unique(sample.day, return_counts=True)[1]
    assert len(per_day) == 4
    assert per_day.max() <= 100
    rows_of_users = frame.user_id.value_counts()
    assert set(np.bincount(sample.user)) <= set(rows_of_users)
    assert sorted(everything.scenes) == ["1", "home page"]


def test_on_noise_the_honest_protocol_learns_nothing(tmp_path):
    """The notebook with all its faults seems to know almost all."""
    result = run(None, a_home(tmp_path, noise(5, 600)), days=14, rows=10_000, seed=3)
    by_name = {line["protocol"]: line for line in result["protocols"]}
    honest, notebook = by_name["honest"], by_name["notebook: all faults"]
    assert honest["auc"]["low"] < 0.5 < honest["auc"]["high"]
    assert honest["auc_without_user_item"]["low"] < 0.5 < honest["auc_without_user_item"]["high"]
    assert notebook["auc"]["low"] > 0.8
    assert notebook["auc_without_user_item"]["low"] > 0.6
    assert honest["faults"] == []
    assert len(notebook["faults"]) == 4
    assert (honest["rows_trained"], honest["rows_evaluated"]) == (2_400, 600)
    assert notebook["rows_trained"] + notebook["rows_evaluated"] > 3_000


def test_the_same_seed_gives_the_same_figures_in_any_row_order(tmp_path):
    frame = noise(3, 200)
    first, second = (
        run(None, a_home(tmp_path / name, one), days=14, rows=150, seed=1)
        for name, one in (("a", frame), ("b", frame.sample(frac=1, random_state=0)))
    )
    for result in (first, second):
        result.pop("seconds")
        for line in result["protocols"]:
            line.pop("seconds")
    assert first == second


def test_rows_before_the_training_days_are_in_the_windows_alone(tmp_path):
    result = run(None, a_home(tmp_path, noise(6, 200)), days=2, rows=10_000, seed=1)
    assert (result["days"], result["trained_from"], result["day"]) == (3, "2023-07-13", "2023-07-15")
    assert {line["rows_trained"] for line in result["protocols"][:-1]} == {400}


def test_a_published_day_without_rows_is_passed_over(tmp_path):
    lake = Lake(a_home(tmp_path, noise(5, 50).query("number != 1")).lake_url)
    for number in (1, 5):
        empty, day = TableVersion("logs/nowhere", 0, 0, ""), FIRST + timedelta(days=number)
        manifest = Manifest("logs", str(day), "none", {"logs": empty}, 0, {}, "", "")
        lake.write_json(f"_manifests/logs/dt={day}.json", asdict(manifest))
    chosen = choose_days(lake, None, 14)
    assert [(day - FIRST).days for day in chosen] == [0, 2, 3, 4]


@pytest.mark.parametrize(("published", "listed"), [(0, "found 0"), (2, "2023-07-10, 2023-07-11")])
def test_fewer_than_three_days_say_what_to_do(tmp_path, published, listed):
    settings = a_home(tmp_path, noise(published, 50))
    with pytest.raises(MissingDataError, match="at least 3 published days") as error:
        run(None, settings, days=14, rows=1_000)
    assert listed in str(error.value)
    assert "ctr history" in str(error.value)


def test_a_day_without_clicks_says_so(tmp_path):
    frame = noise(3, 100)
    settings = a_home(tmp_path, frame.assign(label=frame.label * (frame.number < 2)))
    with pytest.raises(MissingDataError, match="2023-07-12, found 0 clicks in 100 rows"):
        run(None, settings, days=14, rows=1_000)


def ctr(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from include.cli.app import app; app()", "leak-demo", *arguments]
    env = {"CTR_HOME": str(home), "CTR_BOOTSTRAP_RESAMPLES": str(RESAMPLES), "PYTHONPATH": str(PROJECT)}
    return subprocess.run(command, cwd=home, env=env, capture_output=True, text=True)


def test_the_command_prints_json_and_leaves_the_lake_as_it_was(tmp_path):
    a_home(tmp_path, noise(3, 200))
    before = sorted(tmp_path.rglob("*"))
    done = ctr(tmp_path, "--json", "--seed", "5", "--day", "2023-07-12")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["seed"], result["day"], len(result["protocols"])) == (5, "2023-07-12", 6)
    assert set(result["protocols"][0]) >= {
        "auc",
        "scene_mean_auc",
        "log_loss",
        "rows_trained",
        "rows_evaluated",
        "clicks",
    }
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_passes_an_error_on(tmp_path):
    done = ctr(tmp_path)
    assert done.returncode == 2
    assert "MissingDataError" in done.stderr


def test_a_person_gets_tables_and_what_leaked(tmp_path, capsys):
    show(run(None, a_home(tmp_path, noise(3, 200)), days=14, rows=1_000))
    printed = " ".join(capsys.readouterr().out.split())
    for output in ("honest", "notebook: all faults", "features knew", "as of the day before"):
        assert output in printed
