"""`ctr night` shows each step and how to answer a held candidate; `ctr demo --bad-day` refuses before it writes anything."""

import json
from datetime import date

import pytest
from sample_records import decision, train
from typer.testing import CliRunner

from include.cli.app import cli
from include.errors import InvalidInputError
from include.lake.lake import get_lake
from include.orchestration import night

DAY = date(2023, 7, 17)
EVENTS = [
    night.Event("logs", "skipped", "current"),
    night.Event("train", "start"),
    night.Event("train", "done", "", 12.3),
]


@pytest.fixture
def nights(tmp_path, monkeypatch):
    """The days and options of the nights that were run; each yields the same steps."""
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    monkeypatch.setattr(night, "wait_for_log", lambda day: iter(["1 file, 8 bytes; waits for _SUCCESS."]))
    monkeypatch.setattr(night, "refuse_without_history", lambda lake, day: None)
    monkeypatch.setattr(night, "next_day", lambda lake: DAY)
    run = []
    monkeypatch.setattr(
        night, "run_night", lambda day, promote, *, scratch: run.append((day, promote, scratch)) or iter(EVENTS)
    )
    return run


def test_a_held_candidate_comes_with_its_command(nights):
    get_lake().write_record(train(DAY, 3))
    get_lake().write_record(decision(DAY, 3, verdict="hold", reasons=["the interval holds 0"]))
    result = CliRunner().invoke(cli, ["night"])
    assert (result.exit_code, nights) == (0, [(DAY, "auto", False)])
    assert "Verdict  hold: the interval holds 0" in result.stdout
    assert "ctr promote 3" in result.stdout
    assert f"dt={DAY}.html" in result.stdout
    assert "2023-07-17: 1 file, 8 bytes; waits for _SUCCESS." in result.stderr
    assert "train        done       12.3 s" in result.stderr


def test_its_json_has_the_steps_and_figures(nights):
    result = CliRunner().invoke(cli, ["night", "--day", "2023-07-18", "--promote", "no", "--scratch", "--json"])
    assert nights == [(date(2023, 7, 18), "no", True)]
    answer = json.loads(result.stdout)
    assert [(step["step"], step["state"]) for step in answer["steps"]] == [("logs", "skipped"), ("train", "done")]
    assert (answer["log_day"], answer["seconds"]) == ("2023-07-18", 12)


def test_a_bad_day_before_the_demo_is_refused_at_once(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("CTR_HOME", str(home))
    result = CliRunner().invoke(cli, ["demo", "--bad-day"])
    assert isinstance(result.exception, InvalidInputError)
    assert "expected a decision on 2023-07-19" in str(result.exception)
    assert not home.exists()
