"""What `test_distributed.py` runs in several processes: training in which the second one may fail, or drift from the first."""

import os
import sys

from fabricate import day

from include.console import exit_clearly
from include.settings import settings
from training import train
from training.distributed import together
from training.loop import Trainer

STEP = 20
what, second = sys.argv[1], os.environ["RANK"] == "1"
step, finish, steps = Trainer._step, Trainer.finish, []


def watched(trainer, *given):
    steps.append(1)
    if second and len(steps) == STEP and what == "fails":
        raise RuntimeError("the second process fails")
    if second and len(steps) == STEP and what == "drifts":
        trainer.model.wide.bias.data += 1e-6
    return step(trainer, *given)


def noted(trainer):
    (settings().home / f"weights-{os.environ['RANK']}").write_text(trainer.checksum())
    return finish(trainer)


Trainer._step, Trainer.finish = watched, noted
with exit_clearly(), together():
    train.run(day(4), settings())
