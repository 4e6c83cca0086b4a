"""`ctr leak-demo`: on your own logs, a model whose features contain the label, beside the same model without."""

from typing import Annotated

import typer

from include.console import JsonFlag
from include.orchestration.training_process import training

DEFAULT_DAYS = 14
DEFAULT_ROWS = 200_000

EvaluationDay = Annotated[
    str | None, typer.Option("--day", help="Day to evaluate on, YYYY-MM-DD; default the last published.")
]
Days = Annotated[int, typer.Option(min=2, help="Train on the published days among this many before it.")]
Rows = Annotated[int, typer.Option(min=100, help="Most rows read of a day; of a larger day a sample of whole users.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of users, model, split and bootstrap; default CTR_SEED.")]


def register(cli: typer.Typer) -> None:
    """Add `ctr leak-demo`."""
    cli.command("leak-demo")(leak_demo)


def leak_demo(
    day: EvaluationDay = None,
    days: Days = DEFAULT_DAYS,
    rows: Rows = DEFAULT_ROWS,
    seed: Seed = None,
    as_json: JsonFlag = False,
) -> None:
    """Show on your own logs what features that contain the label do to AUC, fault by fault; write nothing."""
    command = ["leak-demo", "--days", str(days), "--rows", str(rows)]
    command += ["--day", day] if day else []
    command += ["--seed", str(seed)] if seed is not None else []
    command += ["--json"] if as_json else []
    raise typer.Exit(training(*command))
