"""The features of the leak demo: counts in honest windows of days and in windows that hold the row's own label, and a
bad join."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from include.calendar import WINDOW_DAYS
from include.features import NEUTRAL_CTR
from training.evaluate.metrics import Integers, changes, first_of_run
from training.leak_demo.log import Log

Matrix = NDArray[np.float32]
Window = Literal["as_of", "own_day", "own_row"]

WINDOW_ROWS = 7
MAX_MATCHES = 4
"""A row of the repeated join meets at most this many feature rows, so that a key with thousands of rows stays bounded."""

KNEW: dict[Window, str] = {
    "as_of": "7 calendar days up to the day before, and all days before",
    "own_day": "7 calendar days up to the row's own day, and all so far: its own label too",
    "own_row": "the last 7 rows (not days) and all rows so far: its own label too",
}
"""What the features of a window know of the log."""


def calendar_counts(
    key: Integers, day: Integers, label: Integers, *, lag: int, length: int | None = None
) -> tuple[Integers, Integers]:
    """Return impressions and clicks `[rows]` of each row's key in the `length` calendar days that end `lag` days before
    its day.

    `lag` 1 is as of the day before, 0 takes the row's own day in. Without `length`, all days up to then. Days without rows
    count as days.
    """
    since = day - day.min(initial=np.iinfo(np.int64).max)
    span = int(since.max(initial=0)) + 2  # a day more than there are: what ends before the first day stays in its key
    moment = key * span + since
    order = np.argsort(moment, kind="stable")
    in_order = moment[order]
    clicks_before = np.append(0, np.cumsum(label[order]))
    first = np.zeros_like(since) if length is None else np.maximum(since - lag - length + 1, 0)
    begin = np.searchsorted(in_order, key * span + first, "left")
    end = np.searchsorted(in_order, key * span + np.maximum(since - lag, -1), "right")
    return end - begin, clicks_before[end] - clicks_before[begin]


def row_counts(key: Integers, label: Integers, *, length: int | None = None) -> tuple[Integers, Integers]:
    """Return impressions and clicks `[rows]` of the last `length` rows of each row's key, the row itself included.

    This is the notebook's fault: it counts rows, however old, and the row's own label. Without `length`, all rows so
    far.
    """
    order = np.argsort(key, kind="stable")
    clicks_before = np.append(0, np.cumsum(label[order]))
    position = np.arange(len(key))
    first = first_of_run(changes(key[order]))
    if length is not None:
        first = np.maximum(first, position - length + 1)
    impressions = np.empty_like(key)
    clicks = np.empty_like(key)
    impressions[order] = position + 1 - first
    clicks[order] = clicks_before[position + 1] - clicks_before[first]
    return impressions, clicks


def features(log: Log, window: Window, smoothing: float) -> dict[str, Matrix]:
    """Return counts and smoothed CTRs by name, each `[rows] float32`: of the recent window and of all so far, for each grain.

    The prior of the CTRs is the log's CTR as of the day before for every window, so that only the windows differ.
    """
    everything = np.zeros_like(log.user)
    impressions, clicks = calendar_counts(everything, log.day, log.label, lag=1)
    prior = (clicks + smoothing * NEUTRAL_CTR) / (impressions + smoothing)
    columns: dict[str, Matrix] = {}
    for grain, key in log.keys.items():
        for span in (f"{WINDOW_ROWS}_rows" if window == "own_row" else f"{WINDOW_DAYS}d", "total"):
            recent = span != "total"
            if window == "own_row":
                impressions, clicks = row_counts(key, log.label, length=WINDOW_ROWS if recent else None)
            else:
                length = WINDOW_DAYS if recent else None
                lag = int(window == "as_of")
                impressions, clicks = calendar_counts(key, log.day, log.label, lag=lag, length=length)
            columns[f"{grain}_impressions_{span}"] = impressions.astype(np.float32)
            columns[f"{grain}_clicks_{span}"] = clicks.astype(np.float32)
            ctr = (clicks + smoothing * prior) / (impressions + smoothing)
            columns[f"{grain}_ctr_{span}"] = ctr.astype(np.float32)
    return columns


def repeated_join(log: Log) -> tuple[Integers, Integers]:
    """Return rows `left` joined to feature rows `right`, both `[joined rows]`, on user, item and day, which is not a
    unique key.

    An impression whose user saw the item k times that day comes out k times (at most `MAX_MATCHES`), with the features
    of each of them.
    """
    key = log.keys["user_item"]
    by_day = np.lexsort((log.day, key))
    starts = first_of_run(changes(key[by_day]) | changes(log.day[by_day]))
    group_start = np.empty_like(starts)
    group_start[by_day] = starts
    size = np.bincount(group_start, minlength=len(key))[group_start]
    matches = np.minimum(size, MAX_MATCHES)
    left = np.repeat(np.arange(len(key)), matches)
    sibling = np.arange(len(left)) - np.repeat(np.cumsum(matches) - matches, matches)
    return left, by_day[group_start[left] + sibling]
