"""Damage that real upstream bugs do to a raw day, for `ctr sample --bad-day` and for tests.

A fault changes the columns of a day's raw rows (`include.sample.day.Columns`) and nothing else: rows and their order stay.
"""

from collections.abc import Callable

import numpy as np

from include.sample.day import Columns, quote

Fault = Callable[[Columns, np.random.Generator], Columns]

BAD_DAY = ("labels_zeroed", "scene_renamed", "timestamps_broken")
"""The faults of `ctr sample --bad-day`: enough to fail the checks of the quarantine rate and of the CTR."""


def labels_zeroed(columns: Columns, rng: np.random.Generator) -> Columns:
    """The click stream of the largest scene was lost: all of its labels are 0."""
    del rng
    names, counts = np.unique(columns["scene"].astype(str), return_counts=True)
    largest = names[counts.argmax()]
    return {**columns, "label": np.where(columns["scene"] == largest, "0", columns["label"])}


def scene_renamed(columns: Columns, rng: np.random.Generator) -> Columns:
    """A client release sends scene names of another vocabulary for 15 % of the rows."""
    return {**columns, "scene": np.where(_some(columns, rng, 0.15), "home_feed_v2", columns["scene"])}


def timestamps_broken(columns: Columns, rng: np.random.Generator) -> Columns:
    """5 % of the rows carry a time that is none: a formatting bug of one server."""
    return {
        **columns,
        "log_time": np.where(_some(columns, rng, 0.05), "1970-01-01T00:00:00.000+NaN", columns["log_time"]),
    }


def timestamps_shifted(columns: Columns, rng: np.random.Generator) -> Columns:
    """10 % of the rows carry a time of another day: a server with a wrong clock."""
    return {**columns, "log_time": np.where(_some(columns, rng, 0.1), "2001-01-01 00:00:00", columns["log_time"])}


def users_missing(columns: Columns, rng: np.random.Generator) -> Columns:
    """8 % of the rows have no user id: a login service was down."""
    return {**columns, "user_id": np.where(_some(columns, rng, 0.08), "", columns["user_id"])}


def title_column_renamed(columns: Columns, rng: np.random.Generator) -> Columns:
    """The file's `item_title` column is called `title`."""
    del rng
    return {"title" if name == "item_title" else name: values for name, values in columns.items()}


def deep_features_text(columns: Columns, rng: np.random.Generator) -> Columns:
    """One numeric column holds words in 20 % of the rows."""
    return {**columns, "deep_features_0": np.where(_some(columns, rng, 0.2), quote("n/a"), columns["deep_features_0"])}


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        labels_zeroed,
        scene_renamed,
        timestamps_broken,
        timestamps_shifted,
        users_missing,
        title_column_renamed,
        deep_features_text,
    )
}
"""Every fault by name."""


def _some(columns: Columns, rng: np.random.Generator, share: float) -> np.ndarray:
    return rng.random(len(columns["label"])) < share
