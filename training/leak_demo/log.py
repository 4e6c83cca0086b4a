"""The published logs of some days as arrays: whole users, in order of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import MissingDataError
from include.lake.lake import Lake
from training.evaluate.day_metrics import MIN_CLASS
from training.evaluate.metrics import Integers
from training.tables import published_days, read_day

MIN_DAYS = 3


@dataclass(frozen=True)
class Log:
    """Impressions in order of time, all `[rows]`: `day` as a proleptic ordinal, the others as codes 0, 1, …

    `scenes` names the scene codes.
    """

    day: Integers
    user: Integers
    item: Integers
    scene: Integers
    label: Integers
    scenes: tuple[str, ...]

    @property
    def keys(self) -> dict[str, Integers]:
        """The key `[rows]` of each grain that features are counted for."""
        items = int(self.item.max(initial=0)) + 1
        return {"user": self.user, "item": self.item, "user_item": self.user * items + self.item}


def choose_days(lake: Lake, day: date | None, days: int) -> list[date]:
    """Return the published days among the `days` before the evaluation day, and that one last; raises `MissingDataError`.

    A published day without a row does not count, and is not the last by default.
    """
    if day is not None:
        lake.require("logs", day, "The leak demo")
    last = day or next((published for published in reversed(lake.days("logs")) if _rows(lake, published)), None)
    chosen = days_with_rows(lake, last, days + 1) if last else []
    if len(chosen) < MIN_DAYS:
        listed = ", ".join(map(str, chosen)) or "none"
        until = f" in the {days} days up to {last}" if last else ""
        raise MissingDataError(
            f"The leak demo needs at least {MIN_DAYS} published days of logs{until}, two to train on and one to evaluate; "
            f"found {len(chosen)} in {lake.url}: {listed}. Next: load more with `ctr history --from D1 --to D2` "
            "(`ctr status` shows what is there), or set a larger --days or a later --day."
        )
    return chosen


def days_with_rows(lake: Lake, last: date, length: int) -> list[date]:
    """Return the published days that have rows among the `length` calendar days that end with `last`, ascending."""
    return [day for day in published_days(lake, "logs", last, length) if _rows(lake, day)]


def _rows(lake: Lake, day: date) -> int:
    return lake.require("logs", day, "The leak demo").tables["logs"].rows


def read_log(lake: Lake, days: Sequence[date], rows: int, seed: int) -> Log:
    """Return the published logs of some days, at most `rows` rows a day: those of the users whose hash is lowest.

    The users are the same on every day, so that their windows are whole; items have only the clicks of these users.
    """
    limit = 1 << 53
    tables = []
    for day in days:
        table = _read_day(lake, day, seed)
        limit = _user_limit(table["user_hash"].to_numpy(), rows, limit)
        tables.append(table.filter(pc.less(table["user_hash"], limit)))
    table = pa.concat_tables([table.filter(pc.less(table["user_hash"], limit)) for table in tables])
    scene, scenes = _codes(table["scene"])
    return Log(
        day=table["day"].to_numpy(),
        user=_codes(table["user_id"])[0],
        item=_codes(table["item_id"])[0],
        scene=scene,
        label=table["label"].to_numpy().astype(np.int64),
        scenes=tuple(scenes),
    )


def _read_day(lake: Lake, day: date, seed: int) -> pa.Table:
    """Return a day's impressions in order of time, with the day's ordinal and a hash of the user in [0, 2^53)."""
    columns = ("user_id", "item_id", "scene", "label", "log_ts", "event_id")
    table = read_day(lake, "logs", day, "The leak demo", columns)
    table = table.sort_by([("log_ts", "ascending"), ("event_id", "ascending")]).combine_chunks()
    users = table["user_id"].combine_chunks().dictionary_encode()
    names = users.dictionary.to_numpy(zero_copy_only=False)
    hashes = pd.util.hash_array(names, hash_key=f"{seed:016d}"[-16:], categorize=False) >> np.uint64(11)
    return pa.table(
        {
            "user_id": table["user_id"],
            "item_id": table["item_id"],
            "scene": table["scene"],
            "label": table["label"],
            "day": np.full(len(table), day.toordinal(), np.int64),
            "user_hash": hashes.astype(np.int64)[users.indices.to_numpy()],
        }
    )


def _user_limit(user_hash: Integers, rows: int, limit: int) -> int:
    """Return the highest limit, not above `limit`, under which at most `rows` hashes stay."""
    below = user_hash[user_hash < limit]
    return limit if len(below) <= rows else int(np.partition(below, rows)[rows])


def _codes(column: pa.ChunkedArray) -> tuple[Integers, list[str]]:
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def require_classes(log: Log, chosen: Sequence[date]) -> None:
    """Raise `MissingDataError` where the training days, or the last, have too few clicks or non-clicks."""
    evaluated = log.day == chosen[-1].toordinal()
    trained = (log.day >= chosen[0].toordinal()) & ~evaluated
    for period, mask in ((f"{chosen[0]} to {chosen[-2]}", trained), (str(chosen[-1]), evaluated)):
        clicks = int(log.label[mask].sum())
        if min(clicks, int(mask.sum()) - clicks) < MIN_CLASS:
            raise MissingDataError(
                f"The leak demo needs at least {MIN_CLASS} clicks and {MIN_CLASS} non-clicks in the logs of {period}, "
                f"found {clicks} clicks in {int(mask.sum())} rows. Next: set a larger --rows or --days, or another --day."
            )
