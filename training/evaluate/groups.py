"""The groups of impressions that are reported: all, each scene, user level, item level, and each cell of the three."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from include.metrics_records import By
from include.schemas import LEVELS
from training.evaluate.metrics import Integers

Names = NDArray[np.str_]


@dataclass(frozen=True)
class Group:
    """A named set of rows: `members` are their positions; None stands for any scene or level."""

    by: By
    members: Integers
    scene: str | None = None
    user_level: str | None = None
    item_level: str | None = None


def reported_groups(scene: Names, user_level: Names, item_level: Names, scenes: Sequence[str]) -> list[Group]:
    """Return every group of the report, the empty ones too, of rows with these scenes and levels (all `[rows]`)."""
    users = {level: user_level == level for level in LEVELS}
    items = {level: item_level == level for level in LEVELS}
    in_scene = {name: scene == name for name in scenes}
    return [
        Group("all", np.arange(len(scene))),
        *(Group("scene", np.flatnonzero(in_scene[name]), scene=name) for name in scenes),
        *(Group("user_level", np.flatnonzero(users[level]), user_level=level) for level in LEVELS),
        *(Group("item_level", np.flatnonzero(items[level]), item_level=level) for level in LEVELS),
        *(
            Group("cell", np.flatnonzero(in_scene[name] & users[of_user] & items[of_item]), name, of_user, of_item)
            for name, of_user, of_item in product(scenes, LEVELS, LEVELS)
        ),
    ]
