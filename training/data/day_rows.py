"""The rows of a published day in files instead of memory: the system reads the pages that a step needs and drops them again."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from include.errors import CtrError
from include.lake.lake import Lake
from include.settings import Settings
from training.data.id_memory import Floats
from training.data.item_texts import COLUMNS, ItemTexts
from training.data.rows import Rows, build_rows
from training.data.state import State
from training.tables import NEEDED_FOR, read_shards
from training.text.text_table import TextTable


def rows_of_day(
    lake: Lake, day: date, state: State, texts: TextTable, members: Floats, settings: Settings
) -> tuple[Rows, ItemTexts]:
    """Return the rows of a day and its distinct items, with the state at the start of the day.

    One shard of `CTR_SHARD_ROWS` is in memory at a time. Raises `CtrError` where the number of rows differs from the
    manifest's.
    """

    def shards(columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        return read_shards(lake, "training", day, NEEDED_FOR, settings.shard_rows, columns)

    item_texts = ItemTexts.of(shards(COLUMNS), state, texts)
    rows = on_disk(
        _built(shards(), lambda part: build_rows(part, state, texts, item_texts, members)),
        settings.home,
    )
    published = lake.require("training", day, NEEDED_FOR).table("training").rows
    if len(rows) != published:
        raise CtrError(
            f"{NEEDED_FOR} read {len(rows):,} rows of training of {day}, but the manifest says {published:,}: rows are "
            "missing. Next: clear build_training_table of that day."
        )
    return rows, item_texts


def _built(shards: Iterable[pa.Table], build: Callable[[pa.Table], Rows]) -> Iterator[Rows]:
    """Yield the rows of the halves of each shard, in order, built at the same time."""
    with ThreadPoolExecutor(2) as pool:
        for shard in shards:
            yield from pool.map(build, _halves(shard))


def _halves(shard: pa.Table) -> list[pa.Table]:
    middle = len(shard) // 2
    return [half for half in (shard.slice(0, middle), shard.slice(middle)) if len(half)]


def on_disk(shards: Iterable[Rows], folder: Path) -> Rows:
    """Return the rows of all shards, one after another, mapped from files of the folder; there must be a shard.

    The files have no names: they are gone once the rows are released or the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        files = {field.name: stack.enter_context(tempfile.TemporaryFile(dir=folder)) for field in fields(Rows)}
        count = 0
        shard = None
        for shard in shards:
            count += len(shard)
            for name, file in files.items():
                getattr(shard, name).numpy().tofile(file)
        assert shard is not None
        return Rows(**{name: _mapped(file, count, getattr(shard, name)) for name, file in files.items()})


def _mapped(file: BinaryIO, rows: int, like: Tensor) -> Tensor:
    """Return the file as `[rows, …]`, with the dtype and the further axes of `like`."""
    shape = (rows, *like.shape[1:])
    if not like[:1].numel():
        return like.new_empty(shape)
    return torch.from_numpy(np.memmap(file, like.numpy().dtype, mode="c", shape=shape))
