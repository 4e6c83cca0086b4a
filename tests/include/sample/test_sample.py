import csv
import gzip
import io
import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from budget import examples
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from include.errors import InvalidInputError
from include.raw.completeness import waits_for
from include.raw.deliveries import Raw
from include.sample.day import generate_day
from include.sample.faults import BAD_DAY, FAULTS
from include.sample.world import SCENE_SHARES, World
from include.sample.writer import ORACLE_COLUMNS, oracle_path, summarise, write_day
from include.schemas import RAW_COLUMNS

pytestmark = pytest.mark.usefixtures("home")

SCENES = ("0", "1", "2", "3", "4")
FIRST = date(2023, 7, 10)


@pytest.fixture(scope="module")
def week() -> pd.DataFrame:
    """Eight days of 8,000 rows with their truth."""
    world = World(17, 8000, SCENES)
    parts = []
    for n in range(8):
        log = generate_day(world, FIRST + timedelta(days=n))
        parts.append(
            pd.DataFrame(log.columns).assign(
                day=log.day, y=log.label, p=log.probability, s=log.scene, new_item=log.new_item
            )
        )
    return pd.concat(parts, ignore_index=True)


def read_day(day: date) -> dict[str, list[list[str]]]:
    """Header and records of each file of a raw day, by an independent CSV reader."""
    raw = Raw()
    found = {}
    for path in raw.day_files(day):
        data = Path(raw.full(path)).read_bytes()
        text = (gzip.decompress(data) if path.endswith(".gz") else data).decode("utf-8")
        found[path] = list(csv.reader(io.StringIO(text, newline="")))
    return found


def moment(text: str) -> pd.Timestamp:
    return pd.to_datetime(text, format="%Y-%m-%d %H:%M:%S" if "-" in text else "%Y/%m/%d %H:%M")


def test_files_and_rows_have_exactly_the_columns_of_antm2c():
    write_day(World(1, 600, SCENES), FIRST, Raw())
    for records in read_day(FIRST).values():
        assert tuple(records[0]) == RAW_COLUMNS
        assert {len(record) for record in records} == {len(RAW_COLUMNS)}


def test_a_day_is_the_same_with_or_without_the_days_before_it(home: Path):
    world = World(5, 400, SCENES)
    for n in range(3):
        write_day(world, FIRST + timedelta(days=n), Raw())
    together = read_day(FIRST + timedelta(days=2))
    truth = oracle_path(FIRST + timedelta(days=2)).read_bytes()
    write_day(World(5, 400, SCENES), FIRST + timedelta(days=2), Raw())
    assert read_day(FIRST + timedelta(days=2)) == together
    assert oracle_path(FIRST + timedelta(days=2)).read_bytes() == truth


def test_another_seed_is_another_world():
    one, two = (generate_day(World(seed, 400, SCENES), FIRST) for seed in (1, 2))
    assert not np.array_equal(one.probability, two.probability)


@examples(15)
@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(100, 700),
    day=st.dates(date(1999, 1, 1), date(2040, 1, 1)),
    scenes=st.integers(1, 7),
)
def test_any_world_keeps_to_its_day_with_valid_probabilities(seed: int, rows: int, day: date, scenes: int):
    log = generate_day(World(seed, rows, tuple(map(str, range(scenes)))), day)
    assert list(log.columns) == list(RAW_COLUMNS)
    assert {len(values) for values in log.columns.values()} == {rows}
    assert {moment(text).date() for text in log.columns["log_time"]} == {day}
    assert ((log.probability > 0) & (log.probability < 1)).all()
    assert set(np.unique(log.label)) <= {0, 1}


def test_volume_shares_are_those_of_antm2c(week: pd.DataFrame):
    shares = week.scene.value_counts(normalize=True).reindex(SCENES)
    assert np.allclose(shares, SCENE_SHARES, atol=0.001)


def test_scenes_differ_in_ctr_and_drift_gently(week: pd.DataFrame):
    ctr = week.groupby(["scene", "day"]).p.mean().unstack()
    means = ctr.mean(axis=1)
    assert 0.03 < means.min() < 0.1
    assert means.max() > 3 * means.min()
    daily = (ctr / ctr.shift(axis=1)).iloc[:, 1:]
    assert (daily.sub(1).abs() < 0.01).all().all()
    assert (ctr.max(axis=1) > ctr.min(axis=1) * 1.001).any()


def test_labels_are_drawn_from_the_true_probabilities(week: pd.DataFrame):
    deviation = np.sqrt((week.p * (1 - week.p)).sum())
    assert abs(week.y.sum() - week.p.sum()) < 4 * deviation


def test_best_possible_auc_is_realistic(week: pd.DataFrame):
    assert 0.80 < roc_auc_score(week.y, week.p) < 0.86
    for _, rows in week.groupby("scene"):
        assert 0.72 < roc_auc_score(rows.y, rows.p) < 0.87


def test_items_are_born_and_die_and_many_impressions_are_cold(week: pd.DataFrame):
    last = week[week.day == week.day.max()]
    before = week[week.day < week.day.max()]
    assert (~last.item_id.isin(before.item_id)).mean() >= 0.15
    assert last.new_item.mean() >= 0.15
    first = set(week[week.day == FIRST].item_id)
    assert len(first - set(last.item_id)) / len(first) > 0.3


def test_some_users_are_new_every_day_and_activity_is_skewed(week: pd.DataFrame):
    last = week[week.day == week.day.max()]
    assert 0.02 < (~last.user_id.isin(week[week.day < week.day.max()].user_id)).mean() < 0.3
    counts = week.user_id.value_counts()
    assert counts.head(len(counts) // 10).sum() / counts.sum() > 0.3


def test_text_is_hard_to_parse_and_both_time_formats_occur():
    write_day(World(3, 3000, SCENES), FIRST, Raw())
    records = [dict(zip(RAW_COLUMNS, record, strict=True)) for rows in read_day(FIRST).values() for record in rows[1:]]
    titles = "".join(record["item_title"] for record in records)
    assert "," in titles
    assert '"' in titles
    assert "\n" in titles
    assert re.search("[\u4e00-\u9fff]", titles)
    assert any("," in record["item_entity_names"] for record in records)
    slashes = np.mean(["/" in record["log_time"] for record in records])
    assert 0.2 < slashes < 0.4


def test_intent_text_tells_what_a_user_likes(week: pd.DataFrame):
    words = week.query_entity_seq.str.split("|")
    names = week.item_entity_names.str.strip('"').str.split(r"[|,、]", regex=True)
    shared = np.array([bool(set(a) & set(b) - {""}) for a, b in zip(words, names, strict=True)])
    assert week.p[shared].mean() > 1.5 * week.p[~shared].mean()


def test_oracle_names_every_raw_row_once():
    write_day(World(3, 900, SCENES), FIRST, Raw())
    truth = pd.read_csv(oracle_path(FIRST), dtype=str, keep_default_na=False)
    assert tuple(truth.columns) == ORACLE_COLUMNS
    files = read_day(FIRST)
    assert len(truth) == sum(len(records) - 1 for records in files.values()) == 900
    for row in truth.itertuples():
        record = dict(zip(RAW_COLUMNS, files[row.source_file][int(row.source_row) + 1], strict=True))
        assert (record["user_id"], record["item_id"], record["log_time"]) == (row.user_id, row.item_id, row.log_time)


def test_files_vary_and_a_rerun_leaves_no_old_ones():
    """They vary in number and compression from day to day."""
    world, raw = World(3, 200, SCENES), Raw()
    kinds = {}
    for n in range(15):
        kinds[n] = write_day(world, FIRST + timedelta(days=n), raw).files
    assert {len(files) for files in kinds.values()} == {1, 2}
    assert {files[0].endswith(".gz") for files in kinds.values()} == {True, False}
    Path(raw.full(f"date={FIRST}/part-7.csv")).write_text("left over")
    write_day(world, FIRST, raw)
    assert raw.day_files(FIRST) == list(kinds[0])


def test_a_generated_day_is_marked_as_complete():
    write_day(World(3, 200, SCENES), FIRST, Raw())
    assert waits_for(Raw(), FIRST) is None


def test_a_day_that_was_not_generated_is_not_overwritten():
    raw = Raw()
    folder = Path(raw.full(f"date={FIRST}"))
    folder.mkdir(parents=True)
    (folder / "part-0.csv.gz").write_bytes(b"mine")
    with pytest.raises(InvalidInputError, match=r"2023-07-10.*did not write"):
        write_day(World(3, 200, SCENES), FIRST, raw)
    assert (folder / "part-0.csv.gz").read_bytes() == b"mine"


def test_summary_counts_what_was_written():
    world = World(3, 1000, SCENES)
    report = summarise(world, [write_day(world, FIRST + timedelta(days=n), Raw()) for n in range(2)])
    written = [record for n in range(2) for rows in read_day(FIRST + timedelta(days=n)).values() for record in rows[1:]]
    assert report["rows"] == len(written) == 2000
    assert report["clicks"] == sum(int(record[3]) for record in written) == sum(day["clicks"] for day in report["days"])
    assert [scene["rows"] for scene in report["scenes"]] == [120, 520, 960, 240, 160]


def test_a_bad_day_damages_rows_and_the_ctr_but_not_the_truth():
    world = World(3, 2000, SCENES)
    clean = write_day(world, FIRST, Raw())
    truth = pd.read_csv(oracle_path(FIRST))
    damaged = write_day(world, FIRST, Raw(), BAD_DAY)
    rows = pd.DataFrame([r for records in read_day(FIRST).values() for r in records[1:]], columns=list(RAW_COLUMNS))
    foreign, broken = ~rows.scene.isin(SCENES), rows.log_time.str.startswith("1970")
    assert (foreign | broken).mean() > 0.1
    assert rows.label.astype(int).sum() < 0.85 * clean.label.sum()
    assert summarise(world, [damaged])["clicks"] == rows.label.astype(int).sum()
    assert pd.read_csv(oracle_path(FIRST)).probability.equals(truth.probability)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone_changes_the_day_and_keeps_its_rows(fault: str):
    world = World(3, 800, SCENES)
    write_day(world, FIRST, Raw())
    clean = read_day(FIRST)
    write_day(world, FIRST, Raw(), (fault,))
    damaged = read_day(FIRST)
    assert damaged != clean
    assert {name: len(records) for name, records in damaged.items()} == {
        name: len(records) for name, records in clean.items()
    }


def test_an_unknown_fault_is_an_error_that_lists_the_known_ones():
    with pytest.raises(InvalidInputError, match="labels_zeroed"):
        write_day(World(3, 200, SCENES), FIRST, Raw(), ("gremlins",))
