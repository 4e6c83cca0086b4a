"""The rows and threads of a training step follow from the day's rows, unless the settings say them."""

import pytest

from include.settings import Settings
from training.learn.steps import rows_of_step, threads_of_step


@pytest.mark.parametrize(
    ("rows", "step", "threads"),
    [
        (0, 256, 1),
        (1, 256, 1),
        (60_000, 256, 1),
        (100_000, 512, 1),
        (200_000, 1024, 2),
        (10**6, 4096, 2),
        (10**9, 4096, 2),
    ],
)
def test_they_grow_with_the_day(rows, step, threads):
    settings = Settings()
    assert (rows_of_step(settings, rows), threads_of_step(settings, rows)) == (step, threads)


def test_settings_win():
    settings = Settings(batch_size=100, train_threads=3)
    assert (rows_of_step(settings, 10**6), threads_of_step(settings, 10**6)) == (100, 3)
    assert threads_of_step(Settings(batch_size=100), 10**6) == 1
