"""The device of the tensors and the number of CPU threads."""

import os

import torch


def device() -> str:
    """Return `cuda` where there is a GPU, else `cpu`."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def steady_threads(count: int = 1) -> None:
    """Set a fixed number of threads for training steps, so that the weights do not depend on the number of cores."""
    torch.set_num_threads(count)


def encoder_threads() -> None:
    """Use half the cores for encoders, whose matrices are larger; the other half serves Spark and Airflow."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))


def cpu_has_bfloat16() -> bool:
    """Return whether the processor has instructions for bfloat16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
