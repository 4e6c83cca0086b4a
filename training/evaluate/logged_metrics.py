"""The metrics of a record `evaluation` as MLflow and `val_metrics.json` have them: flat, one number each."""

import re

from include.records import Evaluation

_NOT_IN_A_METRIC = re.compile(r"[^A-Za-z0-9_.\- ]")
"""Characters that a name of MLflow's metrics cannot hold."""


def logged_metrics(record: Evaluation) -> dict[str, float]:
    """Return the figures of a model version by name: its headline, its scenes (`scene/S/auc`), champion's and baseline's."""
    headline = record.headline
    parts = {"": headline.candidate, "champion/": headline.champion, "baseline/": headline.baseline}
    for scene, group in record.scenes.items():
        if group.candidate:
            of_scene = {name: group.candidate[name] for name in ("auc", "log_loss", "pcoc")}
            parts[f"scene/{_NOT_IN_A_METRIC.sub('_', scene)}/"] = of_scene
    flat = {
        f"{prefix}{name}": estimate.value
        for prefix, estimates in parts.items()
        for name, estimate in (estimates or {}).items()
    }
    if record.oracle:
        flat |= {"oracle_auc": record.oracle.auc, "oracle_scene_mean_auc": record.oracle.scene_mean_auc}
    return {name: value for name, value in flat.items() if value is not None}
