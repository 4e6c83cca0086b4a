"""The figures of one model that the gate judges, of the day itself: no resamples, and no second model."""

import math
from collections.abc import Sequence

import numpy as np

from training import metrics
from training.comparison import MIN_CLASS, cold_pools
from training.gate_policy import Policy
from training.metrics import Integers
from training.predictions import EvaluationRows


def figures(rows: EvaluationRows, policy: Policy, scenes: Sequence[str]) -> dict[str, float]:
    """What the gate judges of the candidate's predictions, by the names of its rules; only what has rows enough for it."""
    label, predicted = rows.label, rows.candidate
    found = {
        "scene mean gauc": float("nan"),
        "auc": metrics.auc(label, predicted),
        "pcoc": metrics.pcoc(label, predicted),
        "ece": metrics.ece(label, predicted),
    }
    of_scenes = []
    for scene in scenes:
        members = np.flatnonzero(rows.scene == scene)
        area, users = _gauc(rows, members)
        clicks = int(label[members].sum())
        if users >= MIN_CLASS:
            of_scenes.append(area)
        if users >= policy.scene_gauc.min_users:
            found[f"gauc of scene {scene}"] = area
        if clicks >= policy.scene_auc.min_clicks and len(members) - clicks >= policy.scene_auc.min_non_clicks:
            found[f"auc of scene {scene}"] = metrics.auc(label[members], predicted[members])
        if clicks >= policy.scene_pcoc.min_clicks:
            found[f"pcoc of scene {scene}"] = metrics.pcoc(label[members], predicted[members])
    if of_scenes:
        found["scene mean gauc"] = float(np.mean(of_scenes))
    for pool in cold_pools(rows, scenes, policy.cold_auc):
        if pool.enough(policy.cold_auc):
            areas = [metrics.auc(label[members], predicted[members]) for members in pool.members.values()]
            found[pool.name] = float(np.average(areas, weights=[label[m].sum() for m in pool.members.values()]))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _gauc(rows: EvaluationRows, members: Integers) -> tuple[float, int]:
    """GAUC of some rows, and of how many users with both classes it is the mean."""
    _, _, impressions, area = metrics.user_auc(rows.label[members], rows.candidate[members], rows.user[members])
    return (float(np.average(area, weights=impressions)) if len(area) else float("nan")), len(area)
