"""Single guesses: where the files of a day lie, the formats of times, what a column's name says."""

from datetime import UTC, datetime

import pytest

from include.mapping.file_pattern import FilePattern
from include.mapping.mapping import Times
from include.raw.drafting.paths import guess_paths
from include.raw.drafting.time_formats import guess_times
from include.raw.drafting.vocabulary import name_score


@pytest.mark.parametrize(
    ("paths", "root", "pattern"),
    [
        (["/l/date=2023-07-17/a.csv"], "file:///l", "date={yyyy-MM-dd}/**/*.csv{,.gz,.bz2,.zst,.xz}"),
        (["/l/dt=20230717/hour=05/part-00000"], "file:///l", "dt={yyyyMMdd}/**/*"),
        (["/l/2023/07/17/x.json.gz"], "file:///l", "{yyyy}/{MM}/{dd}/**/*.json{,.gz,.bz2,.zst,.xz}"),
        (["s3://b/year=2023/month=07/day=17/x.parquet"], "s3://b", "year={yyyy}/month={MM}/day={dd}/**/*.parquet"),
        (["/l/imp.2023-07-17.csv", "/l/imp.2023-07-18.csv"], "file:///l", "imp.{yyyy-MM-dd}.csv{,.gz,.bz2,.zst,.xz}"),
        (["/l/log_20230717_05.tsv"], "file:///l", "log_{yyyyMMdd}_{HH}.tsv{,.gz,.bz2,.zst,.xz}"),
    ],
)
def test_paths_say_where_the_files_of_a_day_lie(paths: list[str], root: str, pattern: str):
    guess = guess_paths(paths)
    assert guess is not None
    assert (guess.root, guess.pattern) == (root, pattern)
    under = [path.removeprefix("file://").removeprefix(root.removeprefix("file://")).strip("/") for path in paths]

    def names(folder: str) -> list[tuple[str, bool]]:
        inside = [path.removeprefix(folder) for path in under if path.startswith(folder)]
        return sorted({(rest.split("/")[0], "/" in rest) for rest in inside})

    days = FilePattern(pattern).days(names)
    read = [path for day in sorted(days) for path in FilePattern(pattern).day_paths(day, names).read]
    assert read == under


def test_paths_without_a_day_give_no_pattern():
    assert guess_paths(["/l/log.csv"]) is None
    assert guess_paths(["/l/2023/99/17/log.csv"]) is None


@pytest.mark.parametrize(
    ("text", "formats"),
    [
        ("2023-07-17T01:02:03Z", ["iso8601"]),
        ("1689552000", ["epoch_seconds"]),
        ("1689552000.25", ["epoch_seconds"]),
        ("1689552000123", ["epoch_milliseconds"]),
        ("1689552000123456", ["epoch_microseconds"]),
        ("1689552000123456789", ["epoch_nanoseconds"]),
        ("2023071705", ["%Y%m%d%H"]),
        ("20230717050607", ["%Y%m%d%H%M%S"]),
        ("7/17/2023 1:02:03 PM", ["%m/%d/%Y %I:%M:%S %p"]),
        ("17.07.2023 01:02", ["%d.%m.%Y %H:%M"]),
        ("17/Jul/2023:01:02:03 +0800", ["%d/%b/%Y:%H:%M:%S %z"]),
        ("2023年07月17日 01:02:03", ["%Y年%m月%d日 %H:%M:%S"]),
        ("123456", []),
        ("hello", []),
        ("99999999999", []),
    ],
)
def test_formats_of_times(text: str, formats: list[str]):
    guess = guess_times([text] * 3)
    assert guess.formats == formats
    Times(formats=formats or ["iso8601"])


def test_a_time_far_ahead_is_no_format():
    assert guess_times([str(int(datetime(2123, 1, 1, tzinfo=UTC).timestamp()))]).formats == []


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("user_id", "dw_user_id"),
        ("user_id", "UserID"),
        ("item_id", "item.id"),
        ("label", "isClick"),
        ("log_time", "event-time"),
    ],
)
def test_names_are_known_in_any_style(role: str, name: str):
    assert name_score(role, name) > 0
    assert name_score(role, "other") == 0
