"""Why the notebook reported AUC 0.97: one model, one log, scored honestly and with the notebook's faults, one after another.

A gradient-boosted model reads counts and smoothed CTRs of user, item and user x item, and the scene. Features are computed
here, straight from the published `logs`, since the feature tables cannot be made to contain the label. Nothing is written.
"""

import time
from collections.abc import Callable, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from include.calendar import WINDOW_DAYS
from include.console import out, show_rows
from include.lake.lake import Lake
from include.settings import Settings
from training.leak_demo.log import choose_days, days_with_rows, read_log, require_classes
from training.leak_demo.protocols import PROTOCOLS, score
from training.leak_demo.windows import KNEW, WINDOW_ROWS, features


def run(
    day: date | None,
    settings: Settings,
    *,
    days: int,
    rows: int,
    seed: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train and score every protocol on the `days` days before `day` (default: the last published) and `day` itself.

    Reads at most `rows` rows a day, of whole users, and for the windows of the first days the week before as well.
    Raises `MissingDataError` where fewer than three days are published or a class has too few rows to learn from.
    """
    started = time.monotonic()
    lake = Lake(settings.lake_url)
    seed = settings.seed if seed is None else seed
    chosen = choose_days(lake, day, days)
    progress(f"reading logs of {chosen[0]} to {chosen[-1]}")
    log = read_log(lake, days_with_rows(lake, chosen[-1], days + 1 + WINDOW_DAYS), rows, seed)
    require_classes(log, chosen)
    results = []
    for window, protocols in groupby(PROTOCOLS, key=lambda protocol: protocol.window):
        progress(f"counting: {KNEW[window]}")
        inputs = features(log, window, settings.ctr_smoothing)
        for protocol in protocols:
            progress(f"training: {protocol.name}")
            training_started = time.monotonic()
            result = score(protocol, log, inputs, chosen[0], seed, settings.bootstrap_resamples)
            results.append(result | {"seconds": round(time.monotonic() - training_started, 1)})
    return {
        "day": str(chosen[-1]),
        "trained_from": str(chosen[0]),
        "trained_through": str(chosen[-2]),
        "days": len(chosen),
        "rows": int((log.day >= chosen[0].toordinal()).sum()),
        "users": int(log.user.max()) + 1,
        "rows_per_day": rows,
        "seed": seed,
        "resamples": settings.bootstrap_resamples,
        "model": "HistGradientBoostingClassifier(early_stopping=False), other parameters as scikit-learn has them",
        "protocols": results,
        "summary": summary(results),
        "seconds": round(time.monotonic() - started, 1),
    }


def summary(results: Sequence[dict[str, Any]]) -> str:
    """Return what leaked, in three sentences."""
    honest = results[0]
    notebook = results[-1]
    name = notebook["leakiest_feature"]["name"]
    alone = notebook["leakiest_feature"]["auc"]
    before = honest["single_feature_auc"][name.replace(f"_{WINDOW_ROWS}_rows", f"_{WINDOW_DAYS}d")]
    whole, without_pairs = (
        [line[metric]["value"] for line in (honest, notebook)] for metric in ("auc", "auc_without_user_item")
    )
    return (
        f"The same model on the same log: AUC {whole[0]:.3f} honest, {whole[1]:.3f} with all faults of the notebook "
        f"(without user x item counts {without_pairs[0]:.3f} and {without_pairs[1]:.3f}). {name} alone scores {alone:.3f} "
        f"with the row's own click in its window and {before:.3f} as of the day before. When an item is ranked, its click does "
        "not exist yet."
    )


def show(result: dict[str, Any]) -> None:
    """Print the result of `run`: the figures, the information in each protocol's features, and what leaked."""
    title = f"Leak demo on the logs of {result['trained_from']} to {result['day']} (seed {result['seed']})"
    lines = [
        {
            "protocol": line["protocol"],
            "auc_(95_%)": _formatted(line["auc"]),
            "without_user_item": _formatted(line["auc_without_user_item"]),
            "scene_mean_auc": line["scene_mean_auc"]["value"],
            "log_loss": line["log_loss"]["value"],
            "trained": line["rows_trained"],
            "evaluated": line["rows_evaluated"],
            "clicks": line["clicks"],
        }
        for line in result["protocols"]
    ]
    show_rows(lines, title=title, as_json=False, empty="")
    features = [
        {
            "protocol": line["protocol"],
            "split": line["split"],
            "features_knew": line["features_knew"],
            "leakiest_feature": line["leakiest_feature"]["name"],
            "its_auc": line["leakiest_feature"]["auc"],
        }
        for line in result["protocols"]
    ]
    show_rows(features, title="What the features contain", as_json=False, empty="")
    out.print(result["summary"], highlight=False, markup=False)


def _formatted(estimate: dict[str, Any]) -> str | None:
    if estimate["low"] is None:
        return None if estimate["value"] is None else f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f}–{estimate['high']:.3f})"
