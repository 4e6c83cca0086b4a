"""Where tensors live and how many threads compute."""

import os

import torch


def device() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def steady_threads() -> None:
    """One thread for training steps: they are small, so that more threads mostly wait for each other (ten times slower on
    a busy machine), and the weights do not depend on the number of cores."""
    torch.set_num_threads(1)


def encoder_threads() -> None:
    """Half the cores for encoders, whose matrices are larger; the other half serves Spark and Airflow."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
