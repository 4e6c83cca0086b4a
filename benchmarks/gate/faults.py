"""Damage to training rows that has got past every data check, for `benchmarks.gate.days`, and its undoing.

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
    """The log of one scene counts a click as none and the other way round: a flag whose meaning was inverted."""
    del earlier
    label = rows["label"]
    flipped = pc.if_else(pc.equal(rows["scene"], FLIPPED_SCENE), pc.subtract(pa.scalar(1, label.type), label), label)
    return _replaced(rows, {"label": flipped})


def ctr_zeroed(rows: pa.Table, earlier: pa.Table) -> pa.Table:
    """Every CTR of a user, an item or a pair is 0: clicks were divided by impressions as whole numbers."""
    del earlier
    names = [feature.name for feature in FEATURES if feature.unit == "rate" and feature.grain in _KEYS]
    return _replaced(rows, dict.fromkeys(names, pa.array([0.0] * len(rows))))


def snapshot_stale(rows: pa.Table, earlier: pa.Table) -> pa.Table:
    """The join reads an old snapshot: what a row sees of its user, item and pairs is what their newest row in `earlier` saw.

    Keys without one are unknown, as everyone is on a lake's first days.
    """
    now, past = _with_topic(rows), _with_topic(earlier)
    damaged: dict[str, pd.Series] = {}
    for keys, defaults in _looked_up().items():
        newest = past.dropna(subset=[*keys]).drop_duplicates([*keys], keep="last")[[*keys, *defaults]]
        found = now[[*keys]].merge(newest, how="left", on=[*keys])
        for name, default in defaults.items():
            damaged[name] = found[name].fillna(now["scene_ctr_7d"] if default is None else default)
    return _replaced(rows, {name: pa.array(values.to_numpy()) for name, values in damaged.items()})


FAULTS: dict[str, Fault] = {fault.__name__: fault for fault in (labels_flipped, ctr_zeroed, snapshot_stale)}
"""Every fault by name."""


@contextmanager
def planted(store: Lake, days: Sequence[date], fault: Fault) -> Iterator[None]:
    """Inside, the published training rows of these days are damaged; afterwards they are as they were."""
    clean = {day: read_day(store, "training", day, _NEEDED_FOR) for day in store.days("training") if day <= max(days)}
    none = clean[days[0]].slice(0, 0)
    try:
        for day in days:
            earlier = [rows for each, rows in clean.items() if each <= day - STALE]
            _overwrite(store, day, fault(clean[day], pa.concat_tables([none, *earlier])))
        yield
    finally:
        for day in days:
            _overwrite(store, day, clean[day])


def _overwrite(store: Lake, day: date, rows: pa.Table) -> None:
    """Replaces the rows in the files of a day's published build, so that neither checks nor the versions that learn them know."""
    folder = store.require("training", day, _NEEDED_FOR).table("training").path
    for path in store.files(folder, ".orc"):
        store.fs.rm(path)
    write_orc(store, f"{folder}/part-0.orc", rows)


def _looked_up() -> dict[tuple[str, ...], dict[str, float | str | None]]:
    """By key, the columns that a training row gets from a snapshot, with their value for an unknown key."""
    found: dict[tuple[str, ...], dict[str, float | str | None]] = {}
    for feature in FEATURES:
        if feature.grain in _KEYS:
            keys = (*_KEYS[feature.grain], *(["scene"] if "_scene_" in feature.name else []))
            found.setdefault(keys, {})[feature.name] = feature.default
    for who in ("user", "item"):
        found[f"{who}_id",][f"{who}_level"] = "zero"
    return found


def _with_topic(rows: pa.Table) -> pd.DataFrame:
    """The columns that a snapshot is looked up by and gives, and the item's topic: its first entity."""
    names = {name for keys, columns in _looked_up().items() for name in (*keys, *columns)} - {"topic"}
    topics = [keys[0] if keys else None for keys in rows["item_entity_keys"].to_pylist()]
    return rows.select([*sorted(names), "scene_ctr_7d"]).to_pandas().assign(topic=pd.array(topics, "Int64"))


def _replaced(rows: pa.Table, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """The rows with other values in these columns, of the types that they had."""
    for name, values in columns.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(place), values.cast(rows.schema.field(place).type))
    return rows
