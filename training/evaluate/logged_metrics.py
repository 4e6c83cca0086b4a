"""The metrics of a record `evaluation` as MLflow and `val_metrics.json` have them: flat, one number each."""

import re

from include.records import Evaluation

_NOT_IN_A_METRIC = re.compile(r"[^A-Za-z0-9_.\- ]")
"""Characters that a name of MLflow's metrics cannot hold."""


def logged_metrics(record: Evaluation) -> dict[str, float]:
    """Return the figures of a model version by name: its headline, its scenes (`scene/S/auc`), champion's and baseline's."""
    headline = record.headline
    flat = {name: estimate["value"] for name, estimate in (headline["candidate"] or {}).items()}
    for model in ("champion", "baseline"):
        flat |= {f"{model}/{name}": estimate["value"] for name, estimate in (headline[model] or {}).items()}
    for group in record.groups:
        if group["by"] == "scene" and group["candidate"]:
            prefix = f"scene/{_NOT_IN_A_METRIC.sub('_', group['scene'])}"
            flat |= {f"{prefix}/{name}": group["candidate"][name]["value"] for name in ("auc", "log_loss", "pcoc")}
    best = record.oracle or {}
    flat |= {"oracle_auc": best.get("auc"), "oracle_scene_mean_auc": best.get("scene_mean_auc")}
    return {name: value for name, value in flat.items() if value is not None}
