"""The champion's metrics on a day that it had not seen, and whether they are worse than on the days before."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from include.records import Evaluation

Figures = dict[str, Any]
"""`all` → metric → estimate (see training/evaluate/evaluation.py), and `scenes` → scene → metric → estimate."""

BETTER = {"auc": 1, "gauc": 1, "scene_mean_auc": 1, "scene_mean_gauc": 1, "log_loss": -1, "ece": -1, "pcoc": 0}
"""Metrics that are watched: 1 where higher is better, -1 where lower is, 0 where nearer to 1 is."""

MIN_DAYS = 3
"""Earlier days that must have a figure before one is called worse: intervals do not cover differences between days."""


def figures(evaluation: Evaluation | None) -> tuple[Figures | None, str | None]:
    """Return the champion's figures in a record `evaluation`, or None and why there are no honest ones."""
    if evaluation is None:
        return None, "the day was not evaluated"
    champion = evaluation.champion
    if champion is None:
        return None, "there was no champion yet when the day was evaluated"
    if champion.status != "unseen":
        return None, f"champion version {champion.version} {champion.note}"
    whole = evaluation.headline["champion"]
    if whole is None:
        wrong = evaluation.unusable["champion"]
        return None, f"{wrong} predictions of champion version {champion.version} are not numbers in [0, 1]"
    scenes = {group["scene"]: group["champion"] for group in evaluation.groups if group["by"] == "scene"}
    return {"all": _watched(whole), "scenes": {scene: _watched(of_scene) for scene, of_scene in scenes.items()}}, None


def _watched(estimates: Mapping[str, Any]) -> dict[str, Any]:
    return {metric: estimates[metric] for metric in BETTER if metric in estimates}


def changes(now: Figures, earlier: Sequence[Figures]) -> Figures:
    """Return each figure against those of earlier days, in the same structure; a figure that either lacks is left out.

    `{days, mean, change, low, high, worse}`: `change` is now - mean, `low`..`high` is all that these days' figures and
    their intervals covered, and `worse` says that there are `MIN_DAYS` of them and the figure lies outside, on the
    worse side.
    """
    return {
        "all": _changes(now["all"], [day["all"] for day in earlier]),
        "scenes": {
            scene: _changes(of_scene, [day["scenes"].get(scene, {}) for day in earlier])
            for scene, of_scene in now["scenes"].items()
        },
    }


def worse(change: Figures) -> Iterator[tuple[str | None, str, dict[str, Any]]]:
    """Yield the worse figures of `changes`: scene (None for all rows), metric, and its entry."""
    for scene, of_scene in ((None, change["all"]), *change["scenes"].items()):
        yield from ((scene, metric, entry) for metric, entry in of_scene.items() if entry["worse"])


def _changes(now: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    result = {}
    for metric, estimate in now.items():
        estimates = [day[metric] for day in earlier if day.get(metric, {}).get("value") is not None]
        if estimates and estimate["value"] is not None:
            result[metric] = _change(metric, estimate["value"], estimates)
    return result


def _change(metric: str, value: float, estimates: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    mean = sum(estimate["value"] for estimate in estimates) / len(estimates)
    # The interval of an ECE, from which chance is taken off, may lie below its figure.
    low = min(min(estimate["low"], estimate["value"]) for estimate in estimates)
    high = max(max(estimate["high"], estimate["value"]) for estimate in estimates)
    below = value < low
    above = value > high
    return {
        "days": len(estimates),
        "mean": round(mean, 6),
        "change": round(value - mean, 6),
        "low": low,
        "high": high,
        "worse": len(estimates) >= MIN_DAYS and {1: below, -1: above, 0: below or above}[BETTER[metric]],
    }
