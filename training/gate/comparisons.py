"""The comparisons of the gate: the candidate's changes in a day's metrics, from the champion and from the anchor."""

from collections.abc import Iterator
from typing import Literal

from include.metrics_records import DayMetrics, Estimate, Estimates, GroupEstimates
from include.records import Comparison, Family
from training.gate.policy import Losses

Other = Literal["champion", "anchor"]
Change = tuple[Estimate, Estimate, Estimate]
"""A metric of the candidate, of the other model, and the change."""


def with_champion(metrics: DayMetrics, losses: Losses) -> list[Comparison]:
    """Return the comparisons with the champion: all rows by AUC and by log loss; each scene, small scenes together, new
    items and new users by AUC."""
    whole = metrics.groups[0]
    headline = metrics.headline
    candidate, champion, change = (
        _metric(estimates, "scaled_log_loss") for estimates in (headline.candidate, headline.champion, headline.change)
    )
    return [
        _of(_auc(whole, "champion"), "auc", "AUC of all rows", "overall", whole, losses.auc),
        _of(
            (candidate, champion, _as_gain(change, champion.value)),
            "log loss",
            "Log loss of all rows, both models scaled to the day's clicks,",
            "overall",
            whole,
            losses.log_loss,
        ),
        *_of_groups(metrics, "champion", losses),
    ]


def with_anchor(metrics: DayMetrics, losses: Losses) -> list[Comparison]:
    """Return the same by AUC, from the anchor; none where it has no predictions."""
    whole = metrics.groups[0]
    if not whole.change_from_anchor:
        return []
    overall = _of(_auc(whole, "anchor"), "auc", "AUC of all rows", "overall", whole, losses.since_anchor)
    return [overall, *_of_groups(metrics, "anchor", losses)]


def _of_groups(metrics: DayMetrics, other: Other, losses: Losses) -> Iterator[Comparison]:
    small = metrics.small_scenes
    for group in metrics.groups:
        if group.by == "cell":
            continue
        scene = group.scene
        auc = _auc(group, other)
        if group.by == "scene" and group.n and scene not in small:
            yield _of(auc, f"auc of scene {scene}", f"AUC of scene {scene}", "scenes", group, losses.scene_auc)
        elif group.by == "small_scenes":
            title = f"AUC of the small scenes together ({', '.join(small)})"
            yield _of(auc, "auc of small scenes", title, "scenes", group, losses.scene_auc)
        elif "zero" in (group.user_level, group.item_level) and group.n:
            side = group.by.removesuffix("_level")
            yield _of(auc, f"cold {side}s", f"AUC of new {side}s", "cold", group, losses.cold_auc)


def _auc(group: GroupEstimates, other: Other) -> Change:
    candidate = _metric(group.candidate, "auc")
    if other == "anchor":
        return candidate, Estimate(value=None), _metric(group.change_from_anchor, "auc")
    return candidate, _metric(group.champion, "auc"), _metric(group.change, "auc")


def _metric(estimates: Estimates | None, name: str) -> Estimate:
    return (estimates or {})[name]


def _as_gain(change: Estimate, of: float | None) -> Estimate:
    """Return a change of log loss as a gain, as a share of the champion's."""
    if not change.interval or change.se is None or not of:
        return Estimate(value=None, note=change.note or "the champion's log loss is 0")
    value, high, low = (-figure / of for figure in change.interval)
    return Estimate(value=value, low=low, high=high, se=change.se / of)


def _of(estimates: Change, name: str, title: str, family: Family, group: GroupEstimates, matters: float) -> Comparison:
    candidate, other, change = estimates
    return Comparison(
        name=name,
        what=title,
        family=family,
        clicks=group.clicks,
        matters=matters,
        candidate=None if change.note else candidate.value,
        other=None if change.note else other.value,
        change=change.value,
        low=change.low,
        high=change.high,
        se=None if change.note else change.se,
        lacks=change.note,
    )
