"""`ctr gate-noise`: whether the gate's margins are wider than what another random seed alone changes."""

from pathlib import Path
from typing import Annotated

import typer

from include.console import JsonFlag
from include.rooms import training

DEFAULT_SEEDS = 5

LogDay = Annotated[str, typer.Option("--day", help="Log day whose candidate is trained again, YYYY-MM-DD.")]
Seeds = Annotated[int, typer.Option(min=2, help="How many seeds: each is a training run.")]
Write = Annotated[
    Path | None,
    typer.Option(help="Policy file that is judged and gets the section `noise`; default: CTR_GATE_POLICY, unchanged."),
]


def register(cli: typer.Typer) -> None:
    """Adds `ctr gate-noise`."""
    cli.command("gate-noise")(gate_noise)


def gate_noise(day: LogDay, seeds: Seeds = DEFAULT_SEEDS, write: Write = None, as_json: JsonFlag = False) -> None:
    """Trains a day's candidate with several seeds and compares what that changes with the gate's margins; registers nothing."""
    command = ["gate-noise", "--day", day, "--seeds", str(seeds)]
    command += ["--write", str(write)] if write else []
    command += ["--json"] if as_json else []
    raise typer.Exit(training(*command))
