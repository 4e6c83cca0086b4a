from datetime import date
from typing import Annotated

import pytest

from benchmarks.options import Days, one_of, run_benchmark

Args = tuple[list[str], list[date]]


@pytest.fixture
def run(monkeypatch):
    """Return a function that runs a benchmark with a command line and returns its exit status and what `main` got."""

    def run(*argv: str) -> tuple[int, list[Args]]:
        got: list[Args] = []

        def main(days: Days, part: Annotated[list[str], one_of(("jobs", "days"))]) -> None:
            got.append((part, days))

        monkeypatch.setattr("sys.argv", ["benchmark", *argv])
        with pytest.raises(SystemExit) as ended:
            run_benchmark(main)
        return ended.value.code, got

    return run


def test_a_list_is_given_by_repeating_its_option(run):
    status, got = run("--part=jobs", "--part=days", "--days=2023-07-10", "--days=2023-07-11")
    assert (status, got) == (0, [(["jobs", "days"], [date(2023, 7, 10), date(2023, 7, 11)])])


def test_a_wrong_value_ends_with_status_2(run, capsys):
    assert run("--part=other", "--days=2023-07-10") == (2, [])
    assert "'other' is none of jobs, days." in capsys.readouterr().err
    assert run("--part=jobs", "--days=10.7.2023") == (2, [])
    assert "'10.7.2023' is not a day: expected YYYY-MM-DD" in capsys.readouterr().err
