"""The tables that `benchmarks.quality.compare` prints."""

from typing import Any

from rich.table import Table

from benchmarks.machine import console
from benchmarks.quality.homes import DEVELOPED_ON, DEVELOPMENT_SEED
from benchmarks.quality.models import LIGHTGBM, LIGHTGBM_TEXT
from include.schemas import LEVELS

Result = dict[str, Any]

_COMPARED = {
    "rung_before": "the previous variant",
    LIGHTGBM: "LightGBM",
    LIGHTGBM_TEXT: "LightGBM with the similarities of texts",
}
"""What each difference is to, by its key in the figures."""


def show(result: Result) -> None:
    """Print three tables for each data set: metrics, differences, and the cost of the models."""
    out = console()
    for data, figures in result["data"].items():
        out.print(f"\n{title(data, figures)}", style="bold")
        for table in (_metrics(figures), *(_differences(figures, other) for other in _COMPARED), _costs(figures)):
            if table.row_count:
                out.print(table)
        if any(home["in_development"] for home in figures["homes"].values()):
            out.print(f"* {DEVELOPED_ON[data]}.")
        if len({fit["code"] for fit in figures["fits"]}) > 1:
            out.print("[bold red]The code of training/ changed during the run: the models are not of one version.[/]")
    out.print(
        "± is half of a 95 % interval from resampled users (a user has one weight on all days); differences are paired, bold "
        "where the interval excludes 0. All models start from scratch on all days before each evaluation day; LightGBM and "
        "torch-rechub use the declared and the deep features, lightgbm-text also similarities of texts; no peer was tuned."
    )
    out.print("The effect of leaks on these figures, on the same log: `CTR_HOME=… python -m training leak-demo`.")


def title(data: str, figures: Result) -> str:
    """Return a title for the figures of a data set."""
    homes = list(figures["homes"].values())
    seeds = [f"{seed}{_mark(data, seed) if home['in_development'] else ''}" for home in homes for seed in home["seeds"]]
    rows = [home["days"][day]["rows"] for home in homes for day in home["evaluated"]]
    days = len(homes[0]["evaluated"])
    history = len(homes[0]["days"]) - days
    return (
        f"{data}: seed {', '.join(seeds)}; {days} evaluation days after {history} or more of history, "
        f"{sum(rows):,} rows predicted"
    )


def _mark(data: str, seed: int) -> str:
    return "*" if data == "mind" or seed == DEVELOPMENT_SEED else ""


def _metrics(figures: Result) -> Table:
    names = {
        "auc": "AUC",
        "scene_mean_auc": "scene mean AUC",
        "gauc": "GAUC",
        "log_loss": "log loss",
        "pcoc": "PCOC",
        **{f"{level}_item_auc": f"{level} items" for level in LEVELS},
    }
    table = _table("", [*names.values(), "of best"])
    for model, entry in figures["models"].items():
        values = [_value(entry["metrics"][name], spread=name in ("auc", "scene_mean_auc", "gauc")) for name in names]
        share = entry.get("share_of_possible_auc")
        table.add_row(model, *values, f"{share['value']:.1%}" if share else "")
    return table


def _differences(figures: Result, other: str) -> Table:
    names = {
        "scene_mean_auc": "scene mean AUC",
        "auc": "AUC",
        "gauc": "GAUC",
        "log_loss": "log loss",
        "zero_item_auc": "zero items",
    }
    table = _table(f"Differences to {_COMPARED[other]}", [*names.values(), "scene mean higher on"])
    for model, entry in figures["models"].items():
        difference = entry.get(f"minus_{other}")
        if difference:
            changes = difference["changes"]
            label = f"{model} − {difference['other']}" if other == "rung_before" else model
            above = f"{changes['scene_mean_auc']['above_0']} of {changes['scene_mean_auc']['cells']} days"
            table.add_row(label, *(_change(changes[name]) for name in names), above)
    return table


def _costs(figures: Result) -> Table:
    columns = ["fit s", "predict s", "peak MiB", "AUC: days", "seeds", "scene mean: days", "seeds"]
    table = _table("Means over the fits (peak MiB: of all days); deviation between days, and between seeds", columns)
    for model, entry in figures["models"].items():
        fits = [fit for fit in figures["fits"] if fit["model"] == model]
        if fits:
            cost = [_mean(fits, name) for name in ("fit_seconds", "predict_seconds", "peak_mib")]
            spread = [
                _plain(entry["metrics"][metric].get(f"deviation_of_{over}"))
                for metric in ("auc", "scene_mean_auc")
                for over in ("days", "seeds")
            ]
            table.add_row(model, f"{cost[0]:.1f}", f"{cost[1]:.2f}", f"{cost[2]:,.0f}", *spread)
    return table


def _mean(fits: list[Result], name: str) -> float:
    return sum(fit[name] for fit in fits) / len(fits)


def _value(estimate: Result, *, spread: bool) -> str:
    if estimate["value"] is None:
        return "–"
    half = f"±{_half(estimate)}" if spread and estimate["low"] is not None else ""
    return f"{estimate['value']:.4f}{half}"


def _change(estimate: Result) -> str:
    """Return a difference as text, in bold where its interval excludes 0."""
    if estimate["value"] is None:
        return "–"
    text = f"{estimate['value']:+.4f}".replace("0.", ".", 1)
    if estimate["low"] is None:
        return text
    text += f"±{_half(estimate)}"
    return f"[bold]{text}[/]" if estimate["low"] > 0 or estimate["high"] < 0 else text


def _half(estimate: Result) -> str:
    return f"{(estimate['high'] - estimate['low']) / 2:.4f}"[1:]


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _table(title: str, columns: list[str]) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, padding=(0, 1), header_style="dim")
    table.add_column("model", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    return table
