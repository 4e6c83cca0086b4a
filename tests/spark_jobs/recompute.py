"""Features by a plain full recompute from all logs, in pandas: what the incremental tables have to equal."""

from datetime import date, timedelta

import pandas as pd

from include.features import NEUTRAL_CTR
from include.settings import settings

Logs = dict[date, pd.DataFrame]


def _until(logs: Logs, day: date, days: int | None = None) -> pd.DataFrame:
    """All events of the days up to `day`: of the last `days` calendar days, or of all."""
    first = day - timedelta(days=days - 1) if days else date.min
    parts = [frame.assign(day=past) for past, frame in logs.items() if first <= past <= day]
    empty = pd.DataFrame(columns=["user_id", "item_id", "scene", "label", "day"])
    return pd.concat(parts, ignore_index=True) if parts else empty


def _counts(events: pd.DataFrame, keys: list[str], span: str) -> pd.DataFrame:
    grouped = events.groupby(keys)["label"]
    return pd.DataFrame({f"impressions_{span}": grouped.size(), f"clicks_{span}": grouped.sum()})


def smoothed(clicks: pd.Series, impressions: pd.Series, prior: object) -> pd.Series:
    """(clicks + k * prior) / (impressions + k)."""
    k = settings().ctr_smoothing
    return (clicks + k * prior) / (impressions + k)


def scenes(logs: Logs, day: date) -> pd.DataFrame:
    """`features_scene`, by scene."""
    week = _until(logs, day, 7)
    k = settings().ctr_smoothing
    prior = (week["label"].sum() + k * NEUTRAL_CTR) / (len(week) + k)
    table = _counts(week, ["scene"], "7d").reindex(list(settings().scenes), fill_value=0)
    table["ctr_7d"] = smoothed(table["clicks_7d"], table["impressions_7d"], prior)
    return table.assign(prior_ctr=prior)


def snapshot(logs: Logs, day: date, keys: list[str]) -> pd.DataFrame:
    """A user, item or user-item snapshot without level and pivot, by key."""
    everything, week = _until(logs, day), _until(logs, day, 7)
    seen = everything.groupby(keys)["day"]
    table = _counts(everything, keys, "total").join(_counts(week, keys, "7d")).fillna(0)
    table["first_seen"], table["last_seen"] = seen.min(), seen.max()
    prior = scenes(logs, day)["prior_ctr"].iloc[0]
    for span in ("7d", "total"):
        table[f"ctr_{span}"] = smoothed(table[f"clicks_{span}"], table[f"impressions_{span}"], prior)
    return table


def training(logs: Logs, day: date) -> pd.DataFrame:
    """The count, rate and recency features of the training rows of `day`, in the order of its log."""
    before, rows = day - timedelta(days=1), logs[day].reset_index(drop=True)
    known = bool(_until(logs, before).size)
    by_scene = scenes(logs, before)["ctr_7d"] if known else pd.Series(NEUTRAL_CTR, index=list(settings().scenes))
    prior = rows["scene"].map(by_scene)
    out = pd.DataFrame({"scene_ctr_7d": prior})
    week = _until(logs, before, 7)
    for who in ("user", "item"):
        key = f"{who}_id"
        found = rows[[key]].merge(snapshot(logs, before, [key]), left_on=key, right_index=True, how="left")
        for column in ("impressions_7d", "clicks_7d", "impressions_total", "clicks_total"):
            out[f"{who}_{column}"] = found[column].fillna(0).astype("int64")
        for span in ("7d", "total"):
            out[f"{who}_ctr_{span}"] = found[f"ctr_{span}"].astype("float64").fillna(prior)
        out[f"{who}_days_since_seen"] = [365 if pd.isna(seen) else (day - seen).days for seen in found["last_seen"]]
        out[f"{who}_age_days"] = [0 if pd.isna(seen) else (day - seen).days for seen in found["first_seen"]]
        own = _counts(week, [key, "scene"], "7d")
        mine = rows[[key, "scene"]].merge(own, left_on=[key, "scene"], right_index=True, how="left").fillna(0)
        out[f"{who}_scene_impressions_7d"] = mine["impressions_7d"].astype("int64")
        out[f"{who}_scene_clicks_7d"] = mine["clicks_7d"].astype("int64")
        rate = smoothed(mine["clicks_7d"].astype("float64"), mine["impressions_7d"].astype("float64"), prior)
        out[f"{who}_scene_ctr_7d"] = rate.where(found["impressions_total"].notna(), prior)
    keys = ["user_id", "item_id"]
    pair = rows[keys].merge(snapshot(logs, before, keys), left_on=keys, right_index=True, how="left")
    for column in ("impressions_7d", "clicks_7d", "impressions_total", "clicks_total"):
        out[f"user_item_{column}"] = pair[column].fillna(0).astype("int64")
    return out
