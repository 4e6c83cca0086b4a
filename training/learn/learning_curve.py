"""The learning curve of a run: CSV for machines, a plot for people."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from include.records import CurvePoint
from training.charts import learning_curve


def write_curve(folder: Path, curve: Sequence[CurvePoint]) -> None:
    """Write `learning_curve.csv` and `learning_curve.svg`: each day as predicted before the model learned from it."""
    with (folder / "learning_curve.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(CurvePoint)])
        writer.writeheader()
        writer.writerows(asdict(point) for point in curve)
    (folder / "learning_curve.svg").write_text(learning_curve(curve))
