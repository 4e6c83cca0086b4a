"""The report's plots as inline SVG that takes its text colour from the page, so that it reads on light and dark."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from include.metrics_records import CalibrationBin
from include.records import CurvePoint

if TYPE_CHECKING:  # matplotlib is loaded when the first chart is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TEXT = "#010203"
"""Drawn instead of black, then replaced by CSS's `currentColor`."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ctr",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#8888884d",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _TEXT),
}
CANDIDATE = "#3b82f6"
CHAMPION = "#f59e0b"

Curve = Sequence[CalibrationBin]


def calibration(curves: Mapping[str, Mapping[str, Curve]]) -> str:
    """Return an SVG with each model's CTR against its mean prediction, in bins of equal size: all rows first, then
    scene by scene."""
    names = list(next(iter(curves.values())))
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    with _figure(columns, lines, (3.4 * columns, 2.9 * lines)) as (figure, panels):
        for name, axes in zip(names, panels, strict=False):
            _calibration_panel(axes, {model: by_name[name] for model, by_name in curves.items() if name in by_name})
            axes.set_title("All rows" if name == "all" else f"Scene {name}")
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        panels[0].legend(loc="upper left")
        figure.supxlabel("mean prediction", fontsize=9.5)
        figure.supylabel("CTR", fontsize=9.5)
        return _svg(figure, "Calibration curves")


def _calibration_panel(axes: "Axes", curves: Mapping[str, Curve]) -> None:
    from matplotlib.ticker import MaxNLocator

    top = 1.05 * max((max(point.predicted, point.ctr) for curve in curves.values() for point in curve), default=1.0)
    axes.plot([0, top], [0, top], color="#888888", linewidth=1, linestyle=":")
    for model, curve in curves.items():
        colour = CANDIDATE if model == "candidate" else CHAMPION
        axes.plot(
            [point.predicted for point in curve],
            [point.ctr for point in curve],
            "o-",
            ms=3.5,
            color=colour,
            label=model,
        )
    axes.set(xlim=(0, top or 1), ylim=(0, top or 1))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(5))


def learning_curve(points: Sequence[CurvePoint]) -> str:
    """Return an SVG with the metrics of each training day as it was predicted before the model learned from it."""
    with _figure(2, 1, (10, 2.9)) as (figure, panels):
        days = [point.day[5:] for point in points]
        panels[0].plot(days, [_number(point.auc) for point in points], "o-", ms=4, color=CANDIDATE)
        panels[0].set_title("AUC of each day before learning from it")
        panels[1].plot(days, [point.log_loss for point in points], "o-", ms=4, color=CANDIDATE, label="before")
        panels[1].plot(days, [point.train_loss for point in points], "--", color="#888888", label="while learning")
        panels[1].set_title("Log loss")
        panels[1].legend()
        for axes in panels:
            axes.set_xticks(range(0, len(days), max(1, -(-len(days) // 8))))
        return _svg(figure, "Learning curve")


@contextmanager
def _figure(columns: int, lines: int, size: tuple[float, float]) -> Iterator[tuple["Figure", list["Axes"]]]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context(_STYLE):
        figure, panels = plt.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
        try:
            yield figure, list(panels.flat)
        finally:
            plt.close(figure)


def _svg(figure: "Figure", label: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_TEXT, "currentColor")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
