"""Why the notebook reported AUC 0.97: one model, one log, scored honestly and with the notebook's faults, one after another.

A gradient-boosted model reads counts and smoothed CTRs of user, item and user x item, and the scene. Features are computed
here, straight from the published `logs`, since the feature tables cannot be made to contain the label. Nothing is written.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any, Literal
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from include.calendar import WINDOW_DAYS
from include.console import out, show_rows
from include.errors import MissingDataError
from include.features import NEUTRAL_CTR
from include.lake import Lake
from include.settings import Settings
from training import metrics
from training.bootstrap import GroupMetrics, Scored, interval, resample
from training.evaluation import MIN_CLASS
from training.metrics import Floats, Integers, changes, first_of_run
from training.tables import published_days, read_day

Matrix = NDArray[np.float32]
Window = Literal["as_of", "own_day", "own_row"]

MIN_DAYS = 3
WINDOW_ROWS = 7
MAX_MATCHES = 4
"""A row of the repeated join meets at most this many feature rows, so that a key with thousands of rows stays bounded."""

KNEW: dict[Window, str] = {
    "as_of": "7 calendar days up to the day before, and all days before",
    "own_day": "7 calendar days up to the row's own day, and all so far: its own label too",
    "own_row": "the last 7 rows (not days) and all rows so far: its own label too",
}
"""What the features of a window know of the log."""


@dataclass(frozen=True)
class Protocol:
    """How features are made and rows are split; the model is always the same."""

    name: str
    window: Window
    random_split: bool = False
    repeated_join: bool = False

    @property
    def faults(self) -> list[str]:
        """The notebook's faults that this protocol has."""
        had = {
            "own day or row in the windows": self.window != "as_of",
            "windows of rows": self.window == "own_row",
            "random split": self.random_split,
            "join on a repeated key": self.repeated_join,
        }
        return [fault for fault, has in had.items() if has]


PROTOCOLS = (
    Protocol("honest", "as_of"),
    Protocol("random split", "as_of", random_split=True),
    Protocol("own day in windows", "own_day"),
    Protocol("own row in windows", "own_row"),
    Protocol("own row, random split", "own_row", random_split=True),
    Protocol("notebook: all faults", "own_row", random_split=True, repeated_join=True),
)


@dataclass(frozen=True)
class Log:
    """Impressions in the order of their time, all `[rows]`: `day` as a proleptic ordinal, the others as codes 0, 1, …

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
        """`[rows]` key of each grain that features are counted for."""
        items = int(self.item.max(initial=0)) + 1
        return {"user": self.user, "item": self.item, "user_item": self.user * items + self.item}


def run(
    day: date | None,
    settings: Settings,
    *,
    days: int,
    rows: int,
    seed: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Trains and scores every protocol on the `days` days before `day` (default: the last published) and `day` itself.

    Reads at most `rows` rows a day, of whole users, and for the windows of the first days the week before as well. Raises
    `MissingDataError` where fewer than three days are published or a class has too few rows to learn from.
    """
    started = time.monotonic()
    lake, seed = Lake(settings.lake_url), settings.seed if seed is None else seed
    chosen = choose_days(lake, day, days)
    progress(f"reading logs of {chosen[0]} to {chosen[-1]}")
    log = read_log(lake, _days_with_rows(lake, chosen[-1], days + 1 + WINDOW_DAYS), rows, seed)
    _require_classes(log, chosen)
    results = []
    for window, protocols in groupby(PROTOCOLS, key=lambda protocol: protocol.window):
        progress(f"counting: {KNEW[window]}")
        inputs = features(log, window, settings.ctr_smoothing)
        for protocol in protocols:
            progress(f"training: {protocol.name}")
            began = time.monotonic()
            result = score(protocol, log, inputs, chosen[0], seed, settings.bootstrap_resamples)
            results.append(result | {"seconds": round(time.monotonic() - began, 1)})
    return {
        "day": str(chosen[-1]),
        "trained_from": str(chosen[0]),
        "trained_through": str(chosen[-2]),
        "days": len(chosen),
        "rows": int((log.day >= chosen[0].toordinal()).sum()),
        "users": int(log.user.max()) + 1,
        "rows_per_day": rows,
        "seed": seed,
        "resamples": settings.bootstrap_resamples,
        "model": "HistGradientBoostingClassifier(early_stopping=False), other parameters as scikit-learn has them",
        "protocols": results,
        "summary": summary(results),
        "seconds": round(time.monotonic() - started, 1),
    }


def choose_days(lake: Lake, day: date | None, days: int) -> list[date]:
    """The evaluation day, last, after the published days among the `days` before it; raises `MissingDataError`.

    A published day without a row counts for nothing, and is not the last by default.
    """
    if day is not None:
        lake.require("logs", day, "The leak demo")
    last = day or next((one for one in reversed(lake.days("logs")) if _rows(lake, one)), None)
    found = _days_with_rows(lake, last, days + 1) if last else []
    if len(found) < MIN_DAYS:
        told = ", ".join(map(str, found)) or "none"
        until = f" in the {days} days up to {last}" if last else ""
        raise MissingDataError(
            f"The leak demo needs at least {MIN_DAYS} published days of logs{until}, two to train on and one to evaluate; "
            f"found {len(found)} in {lake.url}: {told}. Load more with `ctr history --from D1 --to D2` "
            "(`ctr status` shows what is there), or give a larger --days or a later --day."
        )
    return found


def _days_with_rows(lake: Lake, last: date, length: int) -> list[date]:
    return [day for day in published_days(lake, "logs", last, length) if _rows(lake, day)]


def _rows(lake: Lake, day: date) -> int:
    return lake.require("logs", day, "The leak demo").tables["logs"].rows


def read_log(lake: Lake, days: Sequence[date], rows: int, seed: int) -> Log:
    """The published logs of some days, of a day at most `rows` rows: those of the users whose hash is lowest.

    The users are the same on every day, so that their windows are whole; items have only the clicks of these users.
    """
    limit, tables = 1 << 53, []
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
    """A day's impressions in the order of their time, with the day's ordinal and a hash of the user in [0, 2^53)."""
    # The scene of a row is no column of the files: it names the folder that they lie in.
    columns = ("user_id", "item_id", "label", "log_ts", "event_id", "__filename")
    table = read_day(lake, "logs", day, "The leak demo", columns)
    table = table.sort_by([("log_ts", "ascending"), ("event_id", "ascending")]).combine_chunks()
    files, users = (table[name].combine_chunks().dictionary_encode() for name in ("__filename", "user_id"))
    folder = re.compile(r"/scene=([^/]+)/")
    scenes = [unquote(found[1]) if (found := folder.search(path)) else "" for path in files.dictionary.to_pylist()]
    names = users.dictionary.to_numpy(zero_copy_only=False)
    hashes = pd.util.hash_array(names, hash_key=f"{seed:016d}"[-16:], categorize=False) >> np.uint64(11)
    return pa.table(
        {
            "user_id": table["user_id"].cast(pa.string()),
            "item_id": table["item_id"].cast(pa.string()),
            "label": table["label"].cast(pa.int8()),
            "scene": pa.array(scenes, pa.string()).take(files.indices),
            "day": np.full(len(table), day.toordinal(), np.int64),
            "user_hash": hashes.astype(np.int64)[users.indices.to_numpy()],
        }
    )


def _user_limit(user_hash: Integers, rows: int, limit: int) -> int:
    """The highest limit, not above `limit`, under which at most `rows` hashes stay."""
    kept = user_hash[user_hash < limit]
    return limit if len(kept) <= rows else int(np.partition(kept, rows)[rows])


def _codes(column: pa.ChunkedArray) -> tuple[Integers, list[str]]:
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _require_classes(log: Log, chosen: Sequence[date]) -> None:
    evaluated = log.day == chosen[-1].toordinal()
    trained = (log.day >= chosen[0].toordinal()) & ~evaluated
    for told, mask in ((f"{chosen[0]} to {chosen[-2]}", trained), (str(chosen[-1]), evaluated)):
        clicks = int(log.label[mask].sum())
        if min(clicks, int(mask.sum()) - clicks) < MIN_CLASS:
            raise MissingDataError(
                f"The leak demo needs at least {MIN_CLASS} clicks and {MIN_CLASS} non-clicks in the logs of {told}, "
                f"found {clicks} clicks in {int(mask.sum())} rows. Give a larger --rows or --days, or another --day."
            )


def calendar_counts(
    key: Integers, day: Integers, label: Integers, *, lag: int, length: int | None = None
) -> tuple[Integers, Integers]:
    """Impressions and clicks `[rows]` of each row's key in the `length` calendar days that end `lag` days before its day.

    `lag` 1 is as of the day before, 0 takes the row's own day in. Without `length`, all days up to then. Days without rows
    count as days.
    """
    since = day - day.min(initial=np.iinfo(np.int64).max)
    span = int(since.max(initial=0)) + 2  # a day more than there are: what ends before the first day stays in its key
    moment = key * span + since
    order = np.argsort(moment, kind="stable")
    in_order, clicks_before = moment[order], np.append(0, np.cumsum(label[order]))
    first = np.zeros_like(since) if length is None else np.maximum(since - lag - length + 1, 0)
    begin = np.searchsorted(in_order, key * span + first, "left")
    end = np.searchsorted(in_order, key * span + np.maximum(since - lag, -1), "right")
    return end - begin, clicks_before[end] - clicks_before[begin]


def row_counts(key: Integers, label: Integers, *, length: int | None = None) -> tuple[Integers, Integers]:
    """Impressions and clicks `[rows]` of the last `length` rows of each row's key, the row itself included.

    The fault itself: it counts rows, however old, and the row's own label. Without `length`, all rows so far.
    """
    order = np.argsort(key, kind="stable")
    clicks_before, place = np.append(0, np.cumsum(label[order])), np.arange(len(key))
    first = first_of_run(changes(key[order]))
    if length is not None:
        first = np.maximum(first, place - length + 1)
    shown, clicked = np.empty_like(key), np.empty_like(key)
    shown[order], clicked[order] = place + 1 - first, clicks_before[place + 1] - clicks_before[first]
    return shown, clicked


def features(log: Log, window: Window, smoothing: float) -> dict[str, Matrix]:
    """Counts and smoothed CTRs by name, each `[rows] float32`: of the recent window and of all so far, for each grain.

    The prior of the CTRs is the log's CTR as of the day before for every window, so that only the windows differ.
    """
    everything = np.zeros_like(log.user)
    shown, clicked = calendar_counts(everything, log.day, log.label, lag=1)
    prior = (clicked + smoothing * NEUTRAL_CTR) / (shown + smoothing)
    found: dict[str, Matrix] = {}
    for grain, key in log.keys.items():
        for span in (f"{WINDOW_ROWS}_rows" if window == "own_row" else f"{WINDOW_DAYS}d", "total"):
            recent = span != "total"
            if window == "own_row":
                shown, clicked = row_counts(key, log.label, length=WINDOW_ROWS if recent else None)
            else:
                length, lag = WINDOW_DAYS if recent else None, int(window == "as_of")
                shown, clicked = calendar_counts(key, log.day, log.label, lag=lag, length=length)
            found[f"{grain}_impressions_{span}"] = shown.astype(np.float32)
            found[f"{grain}_clicks_{span}"] = clicked.astype(np.float32)
            ctr = (clicked + smoothing * prior) / (shown + smoothing)
            found[f"{grain}_ctr_{span}"] = ctr.astype(np.float32)
    return found


def repeated_join(log: Log) -> tuple[Integers, Integers]:
    """Rows `left` joined to feature rows `right`, both `[joined rows]`, on user, item and day, which is not a unique key.

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


def split(protocol: Protocol, day: Integers, seed: int) -> NDArray[np.bool_]:
    """`[rows]` True where a row is evaluated: those of the last day, or as large a share of all rows, drawn at random."""
    last = day == day.max()
    if not protocol.random_split:
        return last
    return np.random.default_rng([seed, 1]).permutation(len(last)) < last.sum()


def score(
    protocol: Protocol, log: Log, inputs: dict[str, Matrix], trained_from: date, seed: int, resamples: int
) -> dict[str, Any]:
    """Trains and evaluates one protocol on the rows from `trained_from` on; earlier rows are in the windows alone."""
    left = right = np.arange(len(log.day))
    if protocol.repeated_join:
        left, right = repeated_join(log)
    used = log.day[left] >= trained_from.toordinal()
    left, right = left[used], right[used]
    columns = {name: values[right] for name, values in inputs.items()} | {"scene": log.scene[left].astype(np.float32)}
    label, evaluated = log.label[left], split(protocol, log.day[left], seed)
    user = np.unique(log.user[left[evaluated]], return_inverse=True)[1].astype(np.int64)
    without_pairs = {name: values for name, values in columns.items() if not name.startswith("user_item")}
    scored, less_scored = (
        Scored(label[evaluated], _predicted(some, label, evaluated, seed), user) for some in (columns, without_pairs)
    )
    alone = {
        name: round(single_feature_auc(scored.label, columns[name][evaluated].astype(np.float64)), 4) for name in inputs
    }
    leakiest = max(alone, key=lambda name: alone[name])
    return {
        "protocol": protocol.name,
        "faults": protocol.faults,
        "features_knew": KNEW[protocol.window],
        "split": "random" if protocol.random_split else "next day",
        **estimates(scored, less_scored, log.scene[left[evaluated]], log.scenes, resamples, (seed, 2)),
        "rows_trained": int((~evaluated).sum()),
        "rows_evaluated": len(scored.label),
        "clicks": int(scored.label.sum()),
        "leakiest_feature": {"name": leakiest, "auc": alone[leakiest]},
        "single_feature_auc": alone,
    }


def _predicted(columns: dict[str, Matrix], label: Integers, evaluated: NDArray[np.bool_], seed: int) -> Floats:
    """Click probabilities of the evaluated rows, by a model of the others; the column `scene` is categorical."""
    x = np.stack(list(columns.values()), axis=1)
    categorical = [list(columns).index("scene")]
    model = HistGradientBoostingClassifier(early_stopping=False, categorical_features=categorical, random_state=seed)
    with threadpool_limits(1, "openmp"):  # on a busy machine, threads that spin for each other take many times as long
        model.fit(x[~evaluated], label[~evaluated])
        return model.predict_proba(x[evaluated])[:, 1].astype(np.float64)


def single_feature_auc(label: Integers, values: Floats) -> float:
    """AUC of a feature by itself, in either direction (0.5 to 1)."""
    area = metrics.auc(label, values)
    return max(area, 1 - area)


def estimates(
    scored: Scored, less_scored: Scored, scene: Integers, scenes: Sequence[str], resamples: int, seed: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """AUC, mean of the scenes' AUCs and log loss as `{value, low, high}`: 95 % intervals of a bootstrap over users.

    `less_scored` are the same rows by the model without user x item counts, of which only the AUC is told. The mean is over
    the scenes with enough clicks and non-clicks to tell.
    """
    told = [code for code in range(len(scenes)) if _tells(scored.label[scene == code])]
    every = np.arange(len(scored.label))
    groups = [every, *(np.flatnonzero(scene == code) for code in told)]
    drawn, less_drawn = resample([GroupMetrics(scored, groups), GroupMetrics(less_scored, [every])], resamples, seed)
    of_scene = [metrics.auc(scored.label[group], scored.probability[group]) for group in groups[1:]]
    of_scenes = _estimate(float(np.mean(of_scene)), drawn["auc"][1:].mean(axis=0)) if told else _estimate(None)
    loss = float(metrics.row_log_loss(scored.label, scored.probability).mean())
    return {
        "auc": _estimate(metrics.auc(scored.label, scored.probability), drawn["auc"][0]),
        "auc_without_user_item": _estimate(
            metrics.auc(less_scored.label, less_scored.probability), less_drawn["auc"][0]
        ),
        "scene_mean_auc": of_scenes | {"scenes": [scenes[code] for code in told]},
        "log_loss": _estimate(loss, drawn["log_loss"][0]),
    }


def _tells(label: Integers) -> bool:
    return min(int(label.sum()), len(label) - int(label.sum())) >= MIN_CLASS


def _estimate(value: float | None, draws: Floats | None = None) -> dict[str, Any]:
    if value is None or not np.isfinite(value):
        return {"value": None, "low": None, "high": None}
    low, high = (interval(draws) if draws is not None else None) or (None, None)
    return {
        "value": round(value, 4),
        "low": None if low is None else round(low, 4),
        "high": None if high is None else round(high, 4),
    }


def summary(results: Sequence[dict[str, Any]]) -> str:
    """What leaked, in three sentences."""
    honest, notebook = results[0], results[-1]
    name, alone = notebook["leakiest_feature"]["name"], notebook["leakiest_feature"]["auc"]
    before = honest["single_feature_auc"][name.replace(f"_{WINDOW_ROWS}_rows", f"_{WINDOW_DAYS}d")]
    whole, less = (
        [line[metric]["value"] for line in (honest, notebook)] for metric in ("auc", "auc_without_user_item")
    )
    return (
        f"The same model on the same log: AUC {whole[0]:.3f} honest, {whole[1]:.3f} with all faults of the notebook "
        f"(without user x item counts {less[0]:.3f} and {less[1]:.3f}). {name} alone scores {alone:.3f} with the row's own "
        f"click in its window and {before:.3f} as of the day before. When an item is to be shown, its click is not there to "
        "be counted."
    )


def show(result: dict[str, Any]) -> None:
    """Prints what `run` returned for a person: the figures, what each protocol's features knew, and what leaked."""
    title = f"Leak demo on the logs of {result['trained_from']} to {result['day']} (seed {result['seed']})"
    lines = [
        {
            "protocol": line["protocol"],
            "auc_(95_%)": _told(line["auc"]),
            "without_user_item": _told(line["auc_without_user_item"]),
            "scene_mean_auc": line["scene_mean_auc"]["value"],
            "log_loss": line["log_loss"]["value"],
            "trained": line["rows_trained"],
            "evaluated": line["rows_evaluated"],
            "clicks": line["clicks"],
        }
        for line in result["protocols"]
    ]
    show_rows(lines, title=title, as_json=False, empty="")
    known = [
        {
            "protocol": line["protocol"],
            "split": line["split"],
            "features_knew": line["features_knew"],
            "leakiest_feature": line["leakiest_feature"]["name"],
            "its_auc": line["leakiest_feature"]["auc"],
        }
        for line in result["protocols"]
    ]
    show_rows(known, title="What the features knew", as_json=False, empty="")
    out.print(result["summary"], highlight=False, markup=False)


def _told(estimate: dict[str, Any]) -> str | None:
    if estimate["low"] is None:
        return None if estimate["value"] is None else f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}–{estimate['high']:.3f})"
