"""The order in which a day's rows are learnt: shuffled whole, or, where the day is large, in blocks."""

from datetime import date

import torch
from torch import Tensor

RUN = 256
"""Neighbouring rows that stay in one block, so that a block's rows lie in few pages of a file."""


def blocks(rows: int, most: int, seed: int, day: date) -> tuple[Tensor, ...]:
    """The places of a day's rows, each once, in blocks `[at most `most`] int64` to be shuffled and learnt one after another.

    Up to `most` rows are one block; a larger day's runs of `RUN` rows are dealt to blocks at random.
    """
    places = torch.arange(rows)
    if rows > most:
        runs = places.split(RUN)
        dealt = torch.randperm(len(runs), generator=generator_of(seed, day))
        places = torch.cat([runs[n] for n in dealt.tolist()])
    return places.split(most)


def generator_of(seed: int, day: date, block: int = -1) -> torch.Generator:
    """The generator of what is drawn for a block, or, without one, for how a day is cut into blocks."""
    return torch.Generator().manual_seed(seed * 1_000_003 + day.toordinal() + block * 15_485_863)
