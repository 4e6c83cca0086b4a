"""The comparisons of the gate: the candidate's changes in a day's metrics, from the champion and from the anchor."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from include.records import DayMetrics
from training.gate.policy import Losses

Family = Literal["overall", "scenes", "cold"]
Other = Literal["champion", "anchor"]


@dataclass(frozen=True)
class Comparison:
    """The change of a metric in a group of rows, candidate - other on the same rows; higher is better.

    `candidate`, `other`, `change`, `low`, `high` (95 % interval of the change) and `se` are None where the group has
    too few rows, as `lacks` says. The change of log loss is a share of the other's. `matters` is the smallest loss that
    matters.
    """

    name: str
    what: str
    family: Family
    clicks: int
    matters: float
    candidate: float | None = None
    other: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    se: float | None = None
    lacks: str | None = None

    @property
    def digits(self) -> str:
        """The format of its changes: of log loss in percent."""
        return ".2%" if self.name == "log loss" else ".4f"


def with_champion(metrics: DayMetrics, losses: Losses) -> list[Comparison]:
    """Return the comparisons with the champion: all rows by AUC and by log loss; each scene, small scenes together, new
    items and new users by AUC."""
    whole = metrics.groups[0]
    log_loss = {name: (metrics.headline[name] or {})["scaled_log_loss"] for name in ("candidate", "champion")}
    headline = metrics.headline["change"] or {}
    change = _as_gain(headline["scaled_log_loss"], log_loss["champion"]["value"])
    return [
        _of(_auc(whole, "change"), "auc", "AUC of all rows", "overall", whole, losses.auc),
        _of(
            (log_loss["candidate"], log_loss["champion"], change),
            "log loss",
            "Log loss of all rows, both models scaled to the day's clicks,",
            "overall",
            whole,
            losses.log_loss,
        ),
        *_of_groups(metrics, "change", losses),
    ]


def with_anchor(metrics: DayMetrics, losses: Losses) -> list[Comparison]:
    """Return the same by AUC, from the anchor; none where it has no predictions."""
    whole = metrics.groups[0]
    if not whole["change_from_anchor"]:
        return []
    overall = _of(_auc(whole, "change_from_anchor"), "auc", "AUC of all rows", "overall", whole, losses.since_anchor)
    return [overall, *_of_groups(metrics, "change_from_anchor", losses)]


def _of_groups(metrics: DayMetrics, change: str, losses: Losses) -> Iterator[Comparison]:
    small = metrics.small_scenes
    for group in metrics.groups:
        if group["by"] == "cell":
            continue
        scene = group["scene"]
        estimates = _auc(group, change)
        if group["by"] == "scene" and group["n"] and scene not in small:
            yield _of(estimates, f"auc of scene {scene}", f"AUC of scene {scene}", "scenes", group, losses.scene_auc)
        elif group["by"] == "small_scenes":
            title = f"AUC of the small scenes together ({', '.join(small)})"
            yield _of(estimates, "auc of small scenes", title, "scenes", group, losses.scene_auc)
        elif group["by"] in ("item_level", "user_level") and group[group["by"]] == "zero" and group["n"]:
            side = group["by"].removesuffix("_level")
            yield _of(estimates, f"cold {side}s", f"AUC of new {side}s", "cold", group, losses.cold_auc)


def _auc(group: Mapping[str, Any], change: str) -> tuple[Any, Any, Any]:
    champion = group["champion"]["auc"] if change == "change" else {"value": None}
    return group["candidate"]["auc"], champion, group[change]["auc"]


def _as_gain(change: Mapping[str, Any], of: float | None) -> dict[str, Any]:
    """Return a change of log loss as a gain, as a share of the champion's."""
    if change["value"] is None or not of:
        return {"value": None, "note": change.get("note", "the champion's log loss is 0")}
    value, low, high = (-change[name] / of for name in ("value", "high", "low"))
    return {"value": value, "low": low, "high": high, "se": change["se"] / of}


def _of(
    estimates: tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]],
    name: str,
    title: str,
    family: Family,
    group: Mapping[str, Any],
    matters: float,
) -> Comparison:
    candidate, other, change = estimates
    lacks = change.get("note")
    if lacks:
        return Comparison(name, title, family, group["clicks"], matters, lacks=lacks)
    values = (candidate["value"], other["value"], change["value"], change["low"], change["high"], change["se"])
    return Comparison(name, title, family, group["clicks"], matters, *values)
