"""Damage to training rows that passes every data check, for `benchmarks.gate.days`, and its removal.

A fault changes the training rows of a day and nothing else: rows, their order, logs and snapshots stay, and so do the features
of later days.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.features import FEATURES
from include.lake.lake import Lake
from training.tables import read_day, write_orc

Fault = Callable[[pa.Table, pa.Table], pa.Table]
"""From the rows of a day, and those of all days that are at least `STALE` older, to the damaged rows."""

FLIPPED_SCENE = "1"
STALE = timedelta(days=7)
_NEEDED_FOR = "Planting a fault"
_KEYS = {
    "user": ("user_id",),
    "item": ("item_id",),
    "user_item": ("user_id", "item_id"),
    "user_topic": ("user_id", "topic"),
}


def labels_flipped(rows: pa.Table, earlier: pa.Table) -> pa.Table:
    """Invert the labels of one scene: a flag whose meaning was inverted in the log."""
    del earlier
    label = rows["label"]
    flipped = pc.if_else(pc.equal(rows["scene"], FLIPPED_SCENE), pc.subtract(pa.scalar(1, label.type), label), label)
    return _replaced(rows, {"label": flipped})


def ctr_zeroed(rows: pa.Table, earlier: pa.Table) -> pa.Table:
    """Set every CTR of a user, an item or a pair to 0: clicks were divided by impressions as whole numbers."""
    del earlier
    names = [feature.name for feature in FEATURES if feature.unit == "rate" and feature.grain in _KEYS]
    return _replaced(rows, dict.fromkeys(names, pa.array([0.0] * len(rows))))


def snapshot_stale(rows: pa.Table, earlier: pa.Table) -> pa.Table:
    """Give each row the features that its user, item and pairs had in their newest row of `earlier`: an old snapshot.

    Keys without such a row are unknown, as all keys are on a lake's first days.
    """
    now = _with_topic(rows)
    past = _with_topic(earlier)
    damaged: dict[str, pd.Series] = {}
    for keys, defaults in _looked_up().items():
        newest = past.dropna(subset=[*keys]).drop_duplicates([*keys], keep="last")[[*keys, *defaults]]
        joined = now[[*keys]].merge(newest, how="left", on=[*keys])
        for name, default in defaults.items():
            damaged[name] = joined[name].fillna(now["scene_ctr_7d"] if default is None else default)
    return _replaced(rows, {name: pa.array(values.to_numpy()) for name, values in damaged.items()})


FAULTS: dict[str, Fault] = {fault.__name__: fault for fault in (labels_flipped, ctr_zeroed, snapshot_stale)}
"""Every fault by name."""


@contextmanager
def planted(lake: Lake, days: Sequence[date], fault: Fault) -> Iterator[None]:
    """Damage the published training rows of these days inside the block, and restore them afterwards."""
    clean = {day: read_day(lake, "training", day, _NEEDED_FOR) for day in lake.days("training") if day <= max(days)}
    empty = clean[days[0]].slice(0, 0)
    try:
        for day in days:
            earlier = [rows for other, rows in clean.items() if other <= day - STALE]
            _overwrite(lake, day, fault(clean[day], pa.concat_tables([empty, *earlier])))
        yield
    finally:
        for day in days:
            _overwrite(lake, day, clean[day])


def _overwrite(lake: Lake, day: date, rows: pa.Table) -> None:
    """Replace the rows in the files of a day's published build, unnoticed by checks and by the versions that learn them."""
    folder = lake.require("training", day, _NEEDED_FOR).table("training").path
    for path in lake.files(folder, ".orc"):
        lake.fs.rm(path)
    write_orc(lake, f"{folder}/part-0.orc", rows)


def _looked_up() -> dict[tuple[str, ...], dict[str, float | str | None]]:
    """Return, by key, the columns that a training row gets from a snapshot, with their value for an unknown key."""
    columns: dict[tuple[str, ...], dict[str, float | str | None]] = {}
    for feature in FEATURES:
        if feature.grain in _KEYS:
            keys = (*_KEYS[feature.grain], *(["scene"] if "_scene_" in feature.name else []))
            columns.setdefault(keys, {})[feature.name] = feature.default
    for entity in ("user", "item"):
        columns[f"{entity}_id",][f"{entity}_level"] = "zero"
    return columns


def _with_topic(rows: pa.Table) -> pd.DataFrame:
    """Return the keys and columns of snapshots, and the item's topic: its first entity."""
    names = {name for keys, columns in _looked_up().items() for name in (*keys, *columns)} - {"topic"}
    topics = [keys[0] if keys else None for keys in rows["item_entity_keys"].to_pylist()]
    return rows.select([*sorted(names), "scene_ctr_7d"]).to_pandas().assign(topic=pd.array(topics, "Int64"))


def _replaced(rows: pa.Table, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """Return the rows with other values in these columns, cast to the columns' types."""
    for name, values in columns.items():
        index = rows.schema.get_field_index(name)
        field = rows.schema.field(index)
        rows = rows.set_column(index, field, values.cast(field.type))
    return rows
