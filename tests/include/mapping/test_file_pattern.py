"""Which files are those of a day, by the pattern of the mapping."""

from datetime import date

import pytest

from include.mapping.file_pattern import FilePattern

DAY = date(2023, 7, 17)
FILES = [
    "date=2023-07-17/a.csv",
    "date=2023-07-17/b.CSV.GZ",
    "date=2023-07-17/c.parquet",
    "date=2023-07-17/hour=05/d.csv",
    "date=2023-07-17/_SUCCESS",
    "date=2023-07-17/.a.csv.crc",
    "date=2023-07-18/a.csv",
    "date=2023-07-17.old/a.csv",
    "2023/07/17/05/part 0",
    "2023/07/17/notes.txt",
    "2023/07/18/05/part 0",
    "log-20230717-1.json.gz",
    "log-20230717-2.JSON",
    "log-20230717.csv",
    "log-20230718-1.json.gz",
    "log-20231317-1.json.gz",
    "other.txt",
    "_imports/x.json",
]


def names(folder: str) -> list[tuple[str, bool]]:
    """List a folder of `FILES`."""
    inside = [path.removeprefix(folder) for path in FILES if path.startswith(folder)]
    return sorted({(path.split("/")[0], "/" in path) for path in inside})


@pytest.mark.parametrize(
    ("pattern", "read", "unread"),
    [
        (
            "date={yyyy-MM-dd}/**/*.csv{,.gz}",
            ["date=2023-07-17/a.csv", "date=2023-07-17/b.CSV.GZ", "date=2023-07-17/hour=05/d.csv"],
            ["date=2023-07-17/c.parquet"],
        ),
        (
            "date={yyyy-MM-dd}/*.csv",
            ["date=2023-07-17/a.csv"],
            ["date=2023-07-17/b.CSV.GZ", "date=2023-07-17/c.parquet", "date=2023-07-17/hour=05/"],
        ),
        ("{yyyy}/{MM}/{dd}/{HH}/*", ["2023/07/17/05/part 0"], ["2023/07/17/notes.txt"]),
        ("{yyyy}/{MM}/{dd}/**", ["2023/07/17/05/part 0", "2023/07/17/notes.txt"], []),
        ("log-{yyyyMMdd}-*.json{,.gz}", ["log-20230717-1.json.gz", "log-20230717-2.JSON"], ["log-20230717.csv"]),
    ],
)
def test_every_file_of_a_day_is_read_or_named(pattern: str, read: list[str], unread: list[str]):
    found = FilePattern(pattern).day_paths(DAY, names)
    assert (list(found.read), list(found.unread)) == (read, unread)


@pytest.mark.parametrize("pattern", ["date={yyyy-MM-dd}/**", "{yyyy}/{MM}/{dd}/**", "log-{yyyyMMdd}-*.json.gz"])
def test_days_are_found_from_names(pattern: str):
    assert FilePattern(pattern).days(names) == {DAY, date(2023, 7, 18)}


@pytest.mark.parametrize("pattern", ["logs/*.csv", "{yyyy}-{MM}/*", "date={yyyy-MM-dd}/a**b/*"])
def test_a_pattern_without_a_whole_day_is_refused(pattern: str):
    with pytest.raises(ValueError, match=r"does not say where|stands for whole folders"):
        FilePattern(pattern)
