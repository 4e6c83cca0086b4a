"""One model, scored under each protocol: how its features are made, and which rows it is evaluated on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.evaluate import metrics
from training.evaluate.bootstrap import GroupMetrics, Scored, interval, resample
from training.evaluate.day_metrics import MIN_CLASS
from training.evaluate.metrics import Floats, Integers
from training.leak_demo.log import Log
from training.leak_demo.windows import KNEW, Matrix, Window, repeated_join


@dataclass(frozen=True)
class Protocol:
    """How features are made and rows are split; the model is always the same."""

    name: str
    window: Window
    random_split: bool = False
    repeated_join: bool = False

    @property
    def faults(self) -> list[str]:
        """The notebook's faults that this protocol has."""
        had = {
            "own day or row in the windows": self.window != "as_of",
            "windows of rows": self.window == "own_row",
            "random split": self.random_split,
            "join on a repeated key": self.repeated_join,
        }
        return [fault for fault, has in had.items() if has]


PROTOCOLS = (
    Protocol("honest", "as_of"),
    Protocol("random split", "as_of", random_split=True),
    Protocol("own day in windows", "own_day"),
    Protocol("own row in windows", "own_row"),
    Protocol("own row, random split", "own_row", random_split=True),
    Protocol("notebook: all faults", "own_row", random_split=True, repeated_join=True),
)


def split(protocol: Protocol, day: Integers, seed: int) -> NDArray[np.bool_]:
    """Return `[rows]` True where a row is evaluated: those of the last day, or as large a share of all rows, drawn at random."""
    last = day == day.max()
    if not protocol.random_split:
        return last
    return np.random.default_rng([seed, 1]).permutation(len(last)) < last.sum()


def score(
    protocol: Protocol, log: Log, inputs: dict[str, Matrix], trained_from: date, seed: int, resamples: int
) -> dict[str, Any]:
    """Train and evaluate one protocol on the rows from `trained_from` on; earlier rows are in the windows alone."""
    left = right = np.arange(len(log.day))
    if protocol.repeated_join:
        left, right = repeated_join(log)
    used = log.day[left] >= trained_from.toordinal()
    left = left[used]
    right = right[used]
    columns = {name: values[right] for name, values in inputs.items()} | {"scene": log.scene[left].astype(np.float32)}
    label = log.label[left]
    evaluated = split(protocol, log.day[left], seed)
    user = np.unique(log.user[left[evaluated]], return_inverse=True)[1].astype(np.int64)
    without_pairs = {name: values for name, values in columns.items() if not name.startswith("user_item")}
    scored, scored_without_pairs = (
        Scored(label[evaluated], _predicted(inputs_of_model, label, evaluated, seed), user)
        for inputs_of_model in (columns, without_pairs)
    )
    alone = {
        name: round(single_feature_auc(scored.label, columns[name][evaluated].astype(np.float64)), 4) for name in inputs
    }
    leakiest = max(alone, key=lambda name: alone[name])
    return {
        "protocol": protocol.name,
        "faults": protocol.faults,
        "features_knew": KNEW[protocol.window],
        "split": "random" if protocol.random_split else "next day",
        **estimates(scored, scored_without_pairs, log.scene[left[evaluated]], log.scenes, resamples, (seed, 2)),
        "rows_trained": int((~evaluated).sum()),
        "rows_evaluated": len(scored.label),
        "clicks": int(scored.label.sum()),
        "leakiest_feature": {"name": leakiest, "auc": alone[leakiest]},
        "single_feature_auc": alone,
    }


def _predicted(columns: dict[str, Matrix], label: Integers, evaluated: NDArray[np.bool_], seed: int) -> Floats:
    """Return click probabilities of the evaluated rows, by a model of the others; the column `scene` is categorical."""
    x = np.stack(list(columns.values()), axis=1)
    categorical = [list(columns).index("scene")]
    model = HistGradientBoostingClassifier(early_stopping=False, categorical_features=categorical, random_state=seed)
    with threadpool_limits(1, "openmp"):  # on a busy machine, threads that spin for each other take many times as long
        model.fit(x[~evaluated], label[~evaluated])
        return model.predict_proba(x[evaluated])[:, 1].astype(np.float64)


def single_feature_auc(label: Integers, values: Floats) -> float:
    """Return the AUC of a feature by itself, in either direction (0.5 to 1)."""
    area = metrics.auc(label, values)
    return max(area, 1 - area)


def estimates(
    scored: Scored,
    scored_without_pairs: Scored,
    scene: Integers,
    scenes: Sequence[str],
    resamples: int,
    seed: Sequence[int],
) -> dict[str, dict[str, Any]]:
    """Return AUC, mean of the scenes' AUCs and log loss as `{value, low, high}`: 95 % intervals of a bootstrap over users.

    `scored_without_pairs` are the same rows by the model without user x item counts, of which only the AUC is returned. The
    mean is over the scenes with at least `MIN_CLASS` clicks and non-clicks.
    """
    codes = [code for code in range(len(scenes)) if _has_both_classes(scored.label[scene == code])]
    all_rows = np.arange(len(scored.label))
    groups = [all_rows, *(np.flatnonzero(scene == code) for code in codes)]
    draws, draws_without_pairs = resample(
        [GroupMetrics(scored, groups), GroupMetrics(scored_without_pairs, [all_rows])], resamples, seed
    )
    of_scene = [metrics.auc(scored.label[group], scored.probability[group]) for group in groups[1:]]
    of_scenes = _estimate(float(np.mean(of_scene)), draws["auc"][1:].mean(axis=0)) if codes else _estimate(None)
    loss = float(metrics.row_log_loss(scored.label, scored.probability).mean())
    return {
        "auc": _estimate(metrics.auc(scored.label, scored.probability), draws["auc"][0]),
        "auc_without_user_item": _estimate(
            metrics.auc(scored_without_pairs.label, scored_without_pairs.probability), draws_without_pairs["auc"][0]
        ),
        "scene_mean_auc": of_scenes | {"scenes": [scenes[code] for code in codes]},
        "log_loss": _estimate(loss, draws["log_loss"][0]),
    }


def _has_both_classes(label: Integers) -> bool:
    return min(int(label.sum()), len(label) - int(label.sum())) >= MIN_CLASS


def _estimate(value: float | None, draws: Floats | None = None) -> dict[str, Any]:
    if value is None or not np.isfinite(value):
        return {"value": None, "low": None, "high": None}
    low, high = (interval(draws) if draws is not None else None) or (None, None)
    return {
        "value": round(value, 4),
        "low": None if low is None else round(low, 4),
        "high": None if high is None else round(high, 4),
    }
