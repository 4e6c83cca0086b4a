"""Distinct texts of the days, straight from the published `texts` tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from include.lake.lake import Lake
from training.tables import read_day
from training.text.vector_cache import Keys


@dataclass(frozen=True)
class Texts:
    """Distinct texts: `keys [n] int64`, sorted, and the text of each."""

    keys: Keys
    texts: list[str]


def distinct_texts(lake: Lake, days: Sequence[date], needed_for: str, among: Keys | None = None) -> Texts:
    """Return the distinct texts of the days; with `among` (sorted), only those keys."""
    keys: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    texts: list[npt.NDArray[np.object_]] = [np.empty(0, object)]
    for day in days:
        table = read_day(lake, "texts", day, needed_for, ["text_key", "text"])
        day_keys = table["text_key"].to_numpy()
        new = ~np.isin(day_keys, np.concatenate(keys))
        if among is not None:
            new &= np.isin(day_keys, among)
        keys.append(day_keys[new])
        texts.append(table["text"].filter(new).to_numpy())
    distinct, rows = np.unique(np.concatenate(keys), return_index=True)
    return Texts(distinct, [text or "" for text in np.concatenate(texts)[rows]])
