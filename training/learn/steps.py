"""The rows and threads of a training step: by the rows of the day, not by the machine, so that weights are reproducible."""

from math import log2

from include.settings import Settings
from training.device import cpu_has_bfloat16

FEWEST_ROWS = 256
MOST_ROWS = 4096
STEPS_A_DAY = 200
LARGE_STEP = 1024
"""Rows from which threads and half precision pay: threads of smaller steps mostly wait for each other (ten times slower on a busy
machine)."""


def rows_of_step(settings: Settings, rows: int) -> int:
    """Return the rows of a step on a day with `rows` of them: of the settings, else the power of two that gives some
    `STEPS_A_DAY` steps, from `FEWEST_ROWS` to `MOST_ROWS`."""
    by_day = 2 ** round(log2(max(rows, 1) / STEPS_A_DAY))
    return settings.batch_size or int(min(max(by_day, FEWEST_ROWS), MOST_ROWS))


def threads_of_step(settings: Settings, rows: int) -> int:
    """Return the threads of a step on a day with `rows` rows, on a CPU."""
    return settings.train_threads or (2 if rows_of_step(settings, rows) >= LARGE_STEP else 1)


def bfloat16_in_step(settings: Settings, rows: int) -> bool:
    """Return whether the widest products of a step on a day with `rows` rows are in bfloat16, on a CPU that computes in it."""
    large = rows_of_step(settings, rows) >= LARGE_STEP
    return settings.train_precision == "auto" and large and cpu_has_bfloat16()
