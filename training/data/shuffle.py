"""The order of a day's rows in training: shuffled whole, or, where the day is large, in blocks."""

from datetime import date

import torch
from torch import Tensor

RUN = 256
"""Neighbouring rows that stay in one block, so that a block's rows lie in few pages of a file."""


def blocks(rows: int, most: int, seed: int, day: date) -> tuple[Tensor, ...]:
    """Return the positions of a day's rows, each once, in blocks `[at most `most`] int64` to be shuffled and trained on
    in turn.

    Up to `most` rows are one block; a larger day's runs of `RUN` rows are dealt to blocks at random.
    """
    positions = torch.arange(rows)
    if rows > most:
        runs = positions.split(RUN)
        dealt = torch.randperm(len(runs), generator=generator_of(seed, day))
        positions = torch.cat([runs[n] for n in dealt.tolist()])
    return positions.split(most)


def generator_of(seed: int, day: date, block: int = -1) -> torch.Generator:
    """Return the random generator of a block, or, without one, of how a day is cut into blocks."""
    return torch.Generator().manual_seed(seed * 1_000_003 + day.toordinal() + block * 15_485_863)
