"""Trains in two processes, started as torchrun does; the argument says what the second does: it fails, drifts or succeeds.

The processes are forked from this one, so that what they import is imported once.
"""

import os
import sys

import mlflow.store.tracking.sqlalchemy_store  # noqa: F401  what training imports late
from fabricate import day
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from include.console import exit_clearly
from include.errors import CtrError
from include.settings import get_settings
from training.__main__ import cli
from training.learn import train  # noqa: F401
from training.learn.trainer import Trainer

STEP = 21
"""The second of a block in `test_distributed.py`: the first one takes both processes, so the checkpoint before it is written."""


def process(scenario: str) -> None:
    """What each of the two processes runs."""
    second, step, finish, steps = os.environ["RANK"] == "1", Trainer._step, Trainer.finish, []

    def watched(trainer, *arguments):
        steps.append(1)
        if second and len(steps) == STEP and scenario == "fails":
            raise CtrError("the second process fails")
        if second and len(steps) == STEP and scenario == "drifts":
            trainer.model.wide.bias.data += 1e-6
        return step(trainer, *arguments)

    def noted(trainer):
        (get_settings().home / f"weights-{os.environ['RANK']}").write_text(trainer.checksum())
        return finish(trainer)

    Trainer._step, Trainer.finish = watched, noted
    with exit_clearly():
        cli(["train", "--day", str(day(4))], standalone_mode=False)


def main() -> None:
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        max_restarts=0,
        run_id="test",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",
    )
    try:
        elastic_launch(config, process)(sys.argv[1])
    except ChildFailedError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
