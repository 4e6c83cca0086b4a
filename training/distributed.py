"""Several processes that train one model: `torchrun --nproc-per-node 2 -m training train --day 2023-07-17`.

Each process trains on its part of every batch; sums over all processes keep weights and moments the same in all of
them. In a process that torchrun did not start, the functions do nothing or return what a single process needs.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from include.console import err
from include.errors import CtrError
from training.device import device


class ProcessesDifferError(CtrError):
    """The processes no longer train the same model."""


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started, with NCCL on GPUs and gloo on CPUs; the others than the first write
    errors only.

    torchrun ends all of them when one fails.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    if device() == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device() == "cuda" else "gloo")
    if not is_first_process():
        err.quiet = True  # its progress bars
        logging.disable(logging.WARNING)
    try:
        yield
    finally:
        err.quiet = False
        logging.disable(logging.NOTSET)
    dist.destroy_process_group()


def processes() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first_process() -> bool:
    """Return whether this process registers, writes and reports."""
    return _rank() == 0


def part_of(values: Tensor) -> Tensor:
    """Return this process's part of the last axis: every n-th of n processes, so that parts differ by one at most."""
    return values[..., _rank() :: processes()]


def share_of(rows: int) -> slice:
    """Return this process's slice of `rows` consecutive rows."""
    return slice(rows * _rank() // processes(), rows * (_rank() + 1) // processes())


def total(values: Tensor) -> Tensor:
    """Return the sum over all processes, of the same shape; gradients go through it."""
    return _Total.apply(values) if dist.is_initialized() else values  # type: ignore[no-untyped-call]


def sum_gradients(weights: Sequence[Tensor], tables: Sequence[Tensor], most: int) -> None:
    """Give every weight, and every table with sparse gradients, the sum of its gradients in all processes.

    A weight that has none in any process keeps none. `most` is the largest number of table rows that a process has
    touched.
    """
    if not dist.is_initialized():
        return
    touched = torch.tensor([weight.grad is not None for weight in weights], dtype=torch.float32, device=device())
    parts = [torch.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    flat = torch.cat([touched, *(part.flatten() for part in parts)])
    dist.all_reduce(flat)
    touched, *sums = flat.split([len(weights), *(weight.numel() for weight in weights)])
    for weight, values, used in zip(weights, sums, touched.tolist(), strict=True):
        weight.grad = values.view_as(weight) if used else None
    for table in tables:
        table.grad = _gathered(table, most)


def require_same(subject: str, checksum: Callable[[], str], hint: str) -> None:
    """Raise `ProcessesDifferError`, which ends with `hint`, where a checksum, in hex, is not the same in all processes."""
    if not dist.is_initialized():
        return
    number = torch.tensor([int(checksum()[:15], 16)], device=device())
    checksums = _gather(number).tolist()
    if len(set(checksums)) > 1:
        raise ProcessesDifferError(
            f"{len(checksums)} processes train one model, but {subject} differs between them: expected one checksum, found "
            f"{', '.join(f'{value:x}' for value in checksums)}. Nothing was registered. {hint}"
        )


class _Total(torch.autograd.Function):
    """A sum over processes: a value is in every process's sum, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _Total.apply(gradient)  # type: ignore[no-untyped-call]


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _gathered(table: Tensor, most: int) -> Tensor:
    """Return the sparse gradients of all processes as one; shorter ones are padded with zeros for row 0."""
    assert table.grad is not None
    gradient = table.grad.coalesce()
    rows = torch.zeros(most, dtype=torch.int64, device=table.device)
    values = table.new_zeros(most, table.shape[1])
    touched = gradient.indices()[0]
    rows[: len(touched)] = touched
    values[: len(touched)] = gradient.values()
    return torch.sparse_coo_tensor(_gather(rows)[None], _gather(values), table.shape)


def _gather(values: Tensor) -> Tensor:
    """Return the values of all processes, concatenated; they have the same shape in all."""
    parts = [torch.empty_like(values) for _ in range(processes())]
    dist.all_gather(parts, values)
    return torch.cat(parts)
