"""The raw days of the benchmarks: the same bytes for a seed, in the form that ingest checks, with the shares they claim."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from benchmarks.raw_days import RawDays, days_from
from include.errors import InvalidInputError
from include.raw.file_check import check_raw_day
from include.settings import get_settings

ROWS = 40_000
DAYS = days_from(date(2023, 7, 10), 2)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("raw days")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTR_HOME", str(folder))
        get_settings.cache_clear()
        RawDays(ROWS, rows_per_file=15_000).write(folder / "raw", DAYS)
        yield folder / "raw"
    get_settings.cache_clear()


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.csv"))}


def test_the_same_seed_gives_the_same_bytes(raw, tmp_path):
    RawDays(ROWS, rows_per_file=15_000).write(tmp_path / "again", DAYS[1:])
    RawDays(ROWS, seed=18, rows_per_file=15_000).write(tmp_path / "other", DAYS[1:])
    again, other = content(tmp_path / "again"), content(tmp_path / "other")
    assert again == {name: data for name, data in content(raw).items() if str(DAYS[1]) in name}
    assert set(other) == set(again)
    assert all(other[name] != again[name] for name in again)


def test_files_have_the_form_that_ingest_checks(raw):
    paths = [raw / path for path in check_raw_day(DAYS[0])]
    assert [path.read_text().count("\n") - 1 for path in paths] == [15_000, 15_000, 10_000]


def test_users_and_items_change_and_one_row_in_ten_is_clicked(raw):
    rows = (
        f"read_csv('{raw}/*/*.csv', all_varchar = true, header = true, ignore_errors = true, hive_partitioning = true)"
    )
    ctr, users, items, titles = duckdb.sql(
        f"""SELECT avg(try_cast(label AS INTEGER)), count(DISTINCT user_id), count(DISTINCT item_id), count(DISTINCT item_title)
        FROM {rows} WHERE date = '{DAYS[0]}'"""
    ).fetchall()[0]
    assert 0.08 < ctr < 0.12
    assert ROWS / 7 < users < ROWS / 4
    assert ROWS / 60 < items <= ROWS / 40
    assert titles > items / 2
    new = (
        "SELECT count(*) FILTER (first = '{1}') / count(*) FROM (SELECT {0}, min(date) AS first FROM {2} GROUP BY {0})"
    )
    (new_items,) = duckdb.sql(new.format("item_id", DAYS[1], rows)).fetchall()[0]
    assert 0.01 < new_items < 0.08


def test_more_scenes_share_the_rows_of_five(tmp_path):
    RawDays(4_000, bad_rows=False, scenes=15).write(tmp_path, DAYS[:1])
    scenes = duckdb.sql(
        f"SELECT scene::INTEGER AS scene, count(*) FROM read_csv('{tmp_path}/*/*.csv') GROUP BY ALL ORDER BY ALL"
    )
    rows = dict(scenes.fetchall())
    assert list(rows) == list(range(15))
    assert rows[0] + rows[5] + rows[10] == pytest.approx(0.35 * 4_000, rel=0.1)


@pytest.mark.parametrize("scenes", [0, 7])
def test_scenes_that_are_no_multiple_of_five_are_refused(scenes):
    with pytest.raises(InvalidInputError, match=f"found {scenes}"):
        RawDays(ROWS, scenes=scenes)
