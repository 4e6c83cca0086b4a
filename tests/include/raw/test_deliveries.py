import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from include.raw.deliveries import Delivery, Raw, finish_interrupted
from include.settings import get_settings


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[Raw]:
    yield Raw(f"file://{tmp_path}/raw")
    get_settings.cache_clear()


def text(raw: Raw, path: str) -> str:
    return Path(raw.full(path)).read_text()


def test_files_come_only_when_the_delivery_ends(raw: Raw):
    with Delivery(raw) as delivery:
        delivery.write("date=2023-07-10/a.csv", b"new")
        assert raw.days() == []
    assert raw.days() == [date(2023, 7, 10)]
    assert raw.day_files(date(2023, 7, 10)) == ["date=2023-07-10/a.csv"]
    assert raw.names("_incoming") == []


def test_a_failed_delivery_leaves_everything_as_it_was(raw: Raw):
    with Delivery(raw) as delivery:
        delivery.write("date=2023-07-10/a.csv", b"old")

    def fail() -> None:
        with Delivery(raw) as delivery:
            delivery.write("date=2023-07-10/a.csv", b"new")
            delivery.write("date=2023-07-11/a.csv", b"new")
            delivery.remove(["date=2023-07-10/a.csv"])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert text(raw, "date=2023-07-10/a.csv") == "old"
    assert raw.days() == [date(2023, 7, 10)]
    assert raw.names("_incoming") == []


def test_a_day_without_files_loses_its_folder(raw: Raw):
    with Delivery(raw) as delivery:
        delivery.write("date=2023-07-10/a.csv", b"old")
    with Delivery(raw) as delivery:
        delivery.write("date=2023-07-11/a.csv", b"new")
        delivery.remove(["date=2023-07-10/a.csv"])
    assert raw.days() == [date(2023, 7, 11)]


def test_what_a_killed_process_began_to_move_is_finished(raw: Raw):
    with Delivery(raw) as delivery:
        delivery.write("date=2023-07-10/gone.csv", b"old")
    folder = Path(raw.full("_incoming/20230710T000000-abc"))
    (folder / "date=2023-07-11").mkdir(parents=True)
    (folder / "date=2023-07-11/b.csv").write_text("second")
    journal = {"put": ["date=2023-07-10/a.csv", "date=2023-07-11/b.csv"], "remove": ["date=2023-07-10/gone.csv"]}
    (folder / "journal.json").write_text(json.dumps(journal))
    Path(raw.full("date=2023-07-10/a.csv")).write_text("first, moved before the kill")
    finish_interrupted(raw)
    assert text(raw, "date=2023-07-11/b.csv") == "second"
    assert raw.day_files(date(2023, 7, 10)) == ["date=2023-07-10/a.csv"]
    assert raw.names("_incoming") == []


def test_zipped_files_have_the_same_bytes_for_the_same_content(raw: Raw):
    found = []
    for name in ("a", "b"):
        with Delivery(raw) as delivery:
            delivery.write(f"date=2023-07-10/{name}.csv.gz", b"x,y\n1,2\n" * 100)
        found.append(Path(raw.full(f"date=2023-07-10/{name}.csv.gz")).read_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["date=2023-07-15.old", "date=2023-7-15", "date=2023-02-30", "date=", "2023-07-15"])
def test_a_folder_that_is_no_day_is_none_and_breaks_nothing(raw: Raw, name: str):
    for folder in (name, "date=2023-07-16"):
        Path(raw.full(folder)).mkdir(parents=True)
        Path(raw.full(f"{folder}/a.csv")).write_text("rows")
    assert raw.days() == [date(2023, 7, 16)]


def test_a_day_has_a_log_if_it_has_files_or_is_declared_empty(raw: Raw, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CTR_EMPTY_DAYS", "2023-07-12")
    get_settings.cache_clear()
    for day in (10, 11):
        Path(raw.full(f"date=2023-07-{day}")).mkdir(parents=True)
    Path(raw.full("date=2023-07-10/a.csv.gz")).write_text("rows")
    Path(raw.full("date=2023-07-11/a.csv.gz.part")).write_text("rows")
    assert [raw.has_log(date(2023, 7, day)) for day in (10, 11, 12, 13)] == [True, False, True, False]
