"""The picture of `benchmarks.quality.compare`: which model variant helps which users and items, and how far each trusts text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm

from benchmarks.quality.score import CELLS
from include.schemas import LEVELS

Result = dict[str, Any]
_COLUMNS = {"auc": "all rows", **{cell: f"{user} users\n{item} items" for cell, (user, item) in CELLS.items()}}
_STRONGEST = 0.05
"""Change of AUC at which the colour is full."""


def draw(figures: Result, title: str, path: Path) -> bool:
    """Write the picture of a data set's figures; return False, and write nothing, if no variant has a previous one."""
    variants = {
        name: entry["minus_rung_before"] for name, entry in figures["models"].items() if "minus_rung_before" in entry
    }
    if not variants:
        return False
    alphas = _alphas(figures["fits"])
    figure, panels = plt.subplots(
        1 + bool(alphas),
        1,
        figsize=(12, 1.6 + 0.55 * len(variants) + (2.4 if alphas else 0)),
        layout="constrained",
        height_ratios=[0.9 + 0.55 * len(variants), 2.4] if alphas else None,
        squeeze=False,
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    _changes(panels[0, 0], variants)
    if alphas:
        _trust(panels[1, 0], alphas)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return True


def _changes(axes: Axes, variants: dict[str, Result]) -> None:
    """Draw a variant a line, a cell a column: the change of AUC to the previous variant, bold if its interval excludes 0."""
    estimates = [[variant["changes"][name] for name in _COLUMNS] for variant in variants.values()]
    values = np.array([[np.nan if cell["value"] is None else cell["value"] for cell in line] for line in estimates])
    norm = TwoSlopeNorm(0.0, -_STRONGEST, _STRONGEST)
    axes.imshow(np.clip(values, -_STRONGEST, _STRONGEST), cmap="RdBu", norm=norm, aspect="auto", alpha=0.6)
    for line, row in enumerate(estimates):
        for column, cell in enumerate(row):
            if cell["value"] is None:
                axes.text(column, line, "too few", ha="center", va="center", color="#777777", fontsize=8)
                continue
            significant = cell["low"] is not None and (cell["low"] > 0 or cell["high"] < 0)
            text = f"{cell['value']:+.3f}"
            if cell["low"] is not None:
                text += f"\n±{(cell['high'] - cell['low']) / 2:.3f}"
            axes.text(
                column, line, text, ha="center", va="center", fontsize=8, weight="bold" if significant else "normal"
            )
    axes.set_xticks(range(len(_COLUMNS)), list(_COLUMNS.values()), fontsize=8)
    axes.set_yticks(
        range(len(variants)), [f"{name} − {variant['other']}" for name, variant in variants.items()], fontsize=9
    )
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_xlabel("change of AUC ± half of the 95 % interval; bold: the interval excludes 0", fontsize=9)


def _alphas(fits: Sequence[Result]) -> dict[str, dict[str, list[float]]]:
    """Return, for each model with a gate, the α of each fit, by level of user and item."""
    alphas: dict[str, dict[str, list[float]]] = {}
    for fit in fits:
        for side, levels in fit["about"].get("alpha", {}).items():
            for level, alpha in levels.items():
                if alpha is not None:
                    alphas.setdefault(fit["model"], {}).setdefault(f"{level} {side}s", []).append(alpha)
    return alphas


def _trust(axes: Axes, alphas: dict[str, dict[str, list[float]]]) -> None:
    """Draw the mean α of each model by level, with a line from the lowest to the highest fit."""
    names = [f"{level} {side}s" for side in ("user", "item") for level in LEVELS]
    width = 0.8 / len(alphas)
    for number, (model, levels) in enumerate(alphas.items()):
        positions = np.arange(len(names)) + (number - (len(alphas) - 1) / 2) * width
        means = np.array([np.mean(levels.get(name, [np.nan])) for name in names])
        ends = np.array([[np.min(levels.get(name, [np.nan])), np.max(levels.get(name, [np.nan]))] for name in names]).T
        axes.bar(
            positions,
            means,
            0.9 * width,
            yerr=np.abs(ends - means),
            label=model,
            error_kw={"lw": 1, "ecolor": "#555555"},
        )
    axes.set_xticks(range(len(names)), names, fontsize=9)
    axes.set(ylim=(0, 1), ylabel="α")
    axes.set_title("Trust in text (α): mean, and range over the fits", loc="left", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
