"""The evaluation as flat tables, kept with the version for those who work with numbers instead of pages."""

import csv
import json
from pathlib import Path
from typing import Any

from include.metrics_records import value_of
from include.records import Evaluation
from include.schemas import LEVELS
from training.evaluate.logged_metrics import logged_metrics
from training.evaluate.metric_names import CHANGES, METRICS

KEYS = ("by", "scene", "user_level", "item_level")
_PARTS = ("value", "low", "high", "note")


def write_tables(folder: Path, evaluation: Evaluation) -> None:
    """Write `cold_report_long.csv`, `cold_report_pivot.csv` and `val_metrics.json` of a record `evaluation`."""
    with (folder / "cold_report_long.csv").open("w", newline="") as file:
        rows = long_rows(evaluation)
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with (folder / "cold_report_pivot.csv").open("w", newline="") as file:
        csv.writer(file).writerows(pivot(evaluation))
    (folder / "val_metrics.json").write_text(json.dumps(logged_metrics(evaluation), indent=1))


def long_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return one row for each group, metric and model; `change` is candidate - champion."""
    rows = []
    for group in evaluation.groups:
        group_columns = {**{key: getattr(group, key) or "all" for key in KEYS}, "n": group.n, "clicks": group.clicks}
        for model, estimates, names in (
            ("candidate", group.candidate, METRICS[1:]),
            ("champion", group.champion, METRICS[1:]),
            ("change", group.change, CHANGES),
        ):
            for metric, estimate in ((name, estimates[name]) for name in names if estimates):
                parts = {part: getattr(estimate, part) for part in _PARTS}
                rows.append({**group_columns, "model": model, "metric": metric, **parts})
    return rows or [dict.fromkeys((*KEYS, "n", "clicks", "model", "metric", *_PARTS))]


def pivot(evaluation: Evaluation) -> list[list[Any]]:
    """Return the candidate's AUC: a line for each scene and user level, a column for each item level; empty if insufficient."""
    header = ["scene", "user_level", *(f"item_{level}" for level in LEVELS)]
    lines = [
        [scene, user, *(value_of(cells[user, item].candidate, "auc") for item in LEVELS)]
        for scene, cells in evaluation.cells.items()
        for user in LEVELS
        if evaluation.headline.candidate  # else no prediction is usable
    ]
    return [header, *lines]
