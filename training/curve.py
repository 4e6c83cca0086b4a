"""The learning curve of a run: CSV for machines, PNG for people."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

from training.loop import CurvePoint


def write_curve(folder: Path, curve: Sequence[CurvePoint]) -> None:
    """Writes `learning_curve.csv` and `learning_curve.png`: each day as predicted before it was learnt from."""
    with (folder / "learning_curve.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(CurvePoint)])
        writer.writeheader()
        writer.writerows(asdict(point) for point in curve)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    days = [point.day[5:] for point in curve]
    left.plot(days, [point.auc for point in curve], marker="o")
    left.set(title="AUC of the next day, before learning from it", ylabel="AUC")
    right.plot(days, [point.log_loss for point in curve], marker="o", label="next day")
    right.plot(days, [point.train_loss for point in curve], marker=".", linestyle="--", label="while learning")
    right.set(title="Log loss", ylabel="nats")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(8))
        axes.grid(alpha=0.3)
    figure.savefig(folder / "learning_curve.png", dpi=120)
    plt.close(figure)
