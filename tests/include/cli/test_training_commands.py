"""Commands that `python -m training` declares are run by `ctr` with the options as they were given."""

import pytest
from typer.testing import CliRunner

from include.cli.app import cli
from include.cli.training_commands import COMMANDS
from include.orchestration import training_process
from training.__main__ import cli as training_cli


@pytest.fixture
def executed(monkeypatch):
    commands = []
    monkeypatch.setattr(training_process.os, "execve", lambda _, command, environment: commands.append(command[3:]))
    return commands


@pytest.mark.parametrize("command", COMMANDS)
def test_each_is_declared_by_training(command):
    result = CliRunner().invoke(training_cli, [command, "--help"])
    assert (result.exit_code, f"{command} [OPTIONS]" in result.stdout) == (0, True)


def test_options_are_passed_on_as_they_are(executed):
    assert CliRunner().invoke(cli, ["reproduce", "3", "--json", "--help"]).exit_code == 0
    assert CliRunner().invoke(cli, ["--verbose", "serve", "--port", "0"]).exit_code == 0
    assert executed == [["reproduce", "3", "--json", "--help"], ["--verbose", "serve", "--port", "0"]]
