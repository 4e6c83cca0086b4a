"""The progress of nightly runs, as somebody without a terminal reads it, and as a table."""

import io
from datetime import UTC, date, datetime, timedelta

import pytest
from rich.console import Console

from include.cli import progress as module
from include.cli.progress import nightly_progress
from include.days.runs import Run, Task

DAYS = [date(2023, 7, 17) + timedelta(days=number) for number in range(8)]
START = datetime(2023, 7, 18, tzinfo=UTC)


def run(state, **tasks):
    return Run(
        run_id="r",
        run_type="backfill",
        state=state,
        page="",
        logical_date=None,
        queued=None,
        hindrance=None,
        start=START,
        end=START + timedelta(minutes=3) if state == "success" else None,
        tasks=[
            Task(task_id=name, state=task, start=None, seconds=None, tries=1, page="") for name, task in tasks.items()
        ],
    )


@pytest.fixture
def console(monkeypatch):
    def of(terminal):
        made = Console(file=io.StringIO(), force_terminal=terminal, width=150)
        monkeypatch.setattr(module, "err", made)
        return made

    return of


def test_without_a_terminal_each_change_is_a_line(console):
    log = console(False)
    with nightly_progress() as show:
        show(DAYS[:1], {})
        show(DAYS[:1], {DAYS[0]: run("running", ingest_logs="running")})
        show(DAYS[:1], {DAYS[0]: run("running", ingest_logs="running")})
        show(DAYS[:1], {DAYS[0]: run("running", ingest_logs="success", gate="success", decide="failed")})
    lines = [line for line in log.file.getvalue().splitlines() if line.startswith("2023-07-17 ")]
    assert lines == ["2023-07-17 ingest logs: running", "2023-07-17 ingest logs: success", "2023-07-17 gate: failed"]


def test_a_terminal_shows_days_around_the_running_one(console):
    """Of eight days six fit; the pace of those that have ended tells the time left."""
    log = console(True)
    with nightly_progress() as show:
        show(
            DAYS, dict.fromkeys(DAYS[:4], run("success", train="success")) | {DAYS[4]: run("running", train="running")}
        )
    text = log.file.getvalue()
    assert "4 of 8 days done, about 12 minutes left" in text
    assert ["2023-07-18" in text, "2023-07-19" in text, "2023-07-24" in text] == [False, True, True]
    assert "▶" in text
