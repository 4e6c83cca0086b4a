"""Rows, threads and precision of a training step follow from the day's rows, unless the settings say them."""

import pytest

from include.settings import Settings
from training.learn import steps
from training.learn.steps import bfloat16_in_step, rows_of_step, threads_of_step


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


@pytest.mark.parametrize(
    ("rows", "precision", "processor_can", "expected"),
    [
        (10**6, "auto", True, True),
        (10**6, "auto", False, False),
        (60_000, "auto", True, False),
        (10**6, "float32", True, False),
    ],
)
def test_large_steps_use_bfloat16_where_they_can(monkeypatch, rows, precision, processor_can, expected):
    monkeypatch.setattr(steps, "cpu_has_bfloat16", lambda: processor_can)
    assert bfloat16_in_step(Settings(train_precision=precision), rows) is expected
