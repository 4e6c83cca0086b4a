"""Features by a plain full recompute from all logs, in pandas: the reference for the incremental tables."""

from datetime import date, timedelta

import numpy as np
import pandas as pd

from include.features import NEUTRAL_CTR, NEVER, prior_strength
from include.settings import get_settings

Logs = dict[date, pd.DataFrame]
_COLUMNS = ["user_id", "item_id", "topic", "scene", "label", "day"]


def _until(logs: Logs, day: date, days: int | None = None) -> pd.DataFrame:
    """All events of the days up to `day`: of the last `days` calendar days, or of all."""
    first = day - timedelta(days=days - 1) if days else date.min
    parts = [frame.assign(day=past)[_COLUMNS] for past, frame in logs.items() if first <= past <= day]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)


def _counts(events: pd.DataFrame, keys: list[str], span: str) -> pd.DataFrame:
    grouped = events.groupby(keys)["label"]
    return pd.DataFrame({f"impressions_{span}": grouped.size(), f"clicks_{span}": grouped.sum()}).astype("int64")


def _remembered(events: pd.DataFrame, key: str, day: date) -> pd.DataFrame:
    """Events since each key's last absence of `retention_days` whole days; none for a key absent for as long until `day`."""
    remembered = []
    length = get_settings().retention_days
    for _, own in events.groupby(key):
        seen = sorted(set(own["day"]))
        since = next(
            (late for early, late in zip(seen[-2::-1], seen[:0:-1], strict=True) if (late - early).days > length),
            seen[0],
        )
        if (day - seen[-1]).days < length:
            remembered.append(own[own["day"] >= since])
    return pd.concat(remembered) if remembered else events.iloc[:0]


def scenes(logs: Logs, day: date) -> pd.DataFrame:
    """`features_scene`, by scene."""
    events = _until(logs, day, 7)
    k = get_settings().ctr_smoothing
    prior = (events["label"].sum() + k * NEUTRAL_CTR) / (len(events) + k)
    table = _counts(events, ["scene"], "7d").reindex(list(get_settings().scenes), fill_value=0)
    table["ctr_7d"] = (table["clicks_7d"] + k * prior) / (table["impressions_7d"] + k)
    table["prior_ctr"] = prior
    for entity in ("user", "item"):
        table[f"{entity}_strength"] = [_strength(events[events["scene"] == scene], entity) for scene in table.index]
    return table


def _strength(events: pd.DataFrame, entity: str) -> float:
    counts = _counts(events, [f"{entity}_id"], "7d")
    n, x = counts["impressions_7d"], counts["clicks_7d"]
    squares, shares = float((n**2).sum()), float((x**2 / n).sum())
    few = get_settings().ctr_smoothing
    return prior_strength(len(counts), int(n.sum()), int(x.sum()), squares, shares, too_few=few)


def week(logs: Logs, day: date, entity: str) -> pd.DataFrame:
    """`features_user` or `features_item`, by key."""
    key = f"{entity}_id"
    events = _until(logs, day, 7)
    table = _counts(events, [key], "7d")
    for n, scene in enumerate(get_settings().scenes):
        own = _counts(events[events["scene"] == scene], [key], "7d").reindex(table.index, fill_value=0)
        table = table.join(own.add_suffix(f"_scene_{n}"))
    return table


def totals(logs: Logs, day: date, entity: str) -> pd.DataFrame:
    """`totals_user` or `totals_item`, by key."""
    key = f"{entity}_id"
    events = _remembered(_until(logs, day), key, day)
    table = _counts(events, [key], "total")
    seen = events.groupby(key)["day"]
    table["first_seen"] = seen.min()
    table["last_seen"] = seen.max()
    table["last_clicked"] = events[events["label"] == 1].groupby(key)["day"].max()
    return table


def training(logs: Logs, day: date) -> pd.DataFrame:
    """The features of the training rows of `day`, in the order of its log."""
    before = day - timedelta(days=1)
    rows = logs[day].reset_index(drop=True)
    has_history = len(_until(logs, before)) > 0
    priors = scenes(logs, before)
    if not has_history:
        priors[["ctr_7d", "user_strength", "item_strength"]] = (NEUTRAL_CTR, *[get_settings().ctr_smoothing] * 2)
    prior = rows["scene"].map(priors["ctr_7d"])
    strength = {entity: rows["scene"].map(priors[f"{entity}_strength"]) for entity in ("user", "item")}
    out = pd.DataFrame({"scene_ctr_7d": prior, "scene_position": rows["scene"].map(list(get_settings().scenes).index)})

    def rate(clicks: pd.Series, impressions: pd.Series, entity: str) -> pd.Series:
        return (clicks + strength[entity] * prior) / (impressions + strength[entity])

    for entity in ("user", "item"):
        out = out.join(_of(logs, before, rows, entity).add_prefix(f"{entity}_"))
        for span in ("7d", "total"):
            out[f"{entity}_ctr_{span}"] = rate(
                out[f"{entity}_clicks_{span}"], out[f"{entity}_impressions_{span}"], entity
            )
        clicks = out[f"{entity}_scene_clicks_7d"]
        impressions = out[f"{entity}_scene_impressions_7d"]
        out[f"{entity}_scene_ctr_7d"] = rate(clicks, impressions, entity)
        odds = {span: out[f"{entity}_ctr_{span}"] / (1 - out[f"{entity}_ctr_{span}"]) for span in ("7d", "total")}
        out[f"{entity}_ctr_trend"] = np.log(odds["7d"] / odds["total"])
        out[f"{entity}_recent_share"] = (out[f"{entity}_impressions_7d"] / out[f"{entity}_impressions_total"]).fillna(
            0.0
        )
    for pair, keys in {"user_item": ["user_id", "item_id"], "user_topic": ["user_id", "topic"]}.items():
        counts = _pairs(logs, before, rows, keys)
        out = out.join(counts[["impressions_7d", "clicks_7d"]].add_prefix(f"{pair}_"))
        if pair == "user_item":
            out["user_item_days_since_seen"] = _days_since(day, counts["last_seen"], NEVER)
    out["user_topic_ctr_7d"] = rate(out["user_topic_clicks_7d"], out["user_topic_impressions_7d"], "user")
    return out


def _of(logs: Logs, before: date, rows: pd.DataFrame, entity: str) -> pd.DataFrame:
    """Counts and days of the user or item of each row."""
    key = f"{entity}_id"
    day = before + timedelta(days=1)
    own = rows[[key, "scene"]].join(week(logs, before, entity), on=key).join(totals(logs, before, entity), on=key)
    names = ["impressions_7d", "clicks_7d", "impressions_total", "clicks_total"]
    out = own[names].astype("float64").fillna(0).astype("int64")
    events = _counts(_until(logs, before, 7), [key, "scene"], "7d").add_prefix("scene_")
    mine = rows[[key, "scene"]].join(events, on=[key, "scene"])[["scene_impressions_7d", "scene_clicks_7d"]]
    out = out.join(mine.astype("float64").fillna(0).astype("int64"))
    out["days_since_seen"] = _days_since(day, own["last_seen"], NEVER)
    out["days_since_click"] = _days_since(day, own["last_clicked"], NEVER)
    out["age_days"] = _days_since(day, own["first_seen"], 0)
    return out


def _pairs(logs: Logs, before: date, rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    events = _until(logs, before, 7)
    events = events[events[keys[1]].notna()]
    table = _counts(events, keys, "7d")
    table["last_seen"] = events.groupby(keys)["day"].max()
    found = rows[keys].join(table, on=keys)
    counts = found[["impressions_7d", "clicks_7d"]].astype("float64").fillna(0).astype("int64")
    return counts.assign(last_seen=found["last_seen"])


def _days_since(day: date, then: pd.Series, never: int) -> list[int]:
    days = [never if pd.isna(value) else (day - value).days for value in then]
    return [min(value, never) for value in days] if never else days
