"""The training rows that the peers of our models fit."""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from include.lake.lake import Lake
from training.tables import read_day

NEEDED_FOR = "The quality benchmark"


def training_rows(lake: Lake, days: Sequence[date], columns: Sequence[str]) -> list[pa.Table]:
    """Return these columns of the training rows of each day."""
    return [read_day(lake, "training", day, NEEDED_FOR, columns).select(list(columns)) for day in days]


def held_out(rows: Sequence[pa.Table]) -> tuple[pa.Table, pa.Table]:
    """Split training days into the rows that a peer fits and the rows on which it chooses its rounds or epochs.

    The latter are the last day; of fewer than three days only a fifth of its users, as the first day of a lake has no features.
    """
    last = rows[-1]
    if len(rows) >= 3:
        return pa.concat_tables(rows[:-1]), last
    users = pa.array(sorted(pc.unique(last["user_id"]).to_pylist())[::5])
    selected = pc.is_in(last["user_id"], value_set=users)
    return pa.concat_tables([*rows[:-1], last.filter(pc.invert(selected))]), last.filter(selected)
