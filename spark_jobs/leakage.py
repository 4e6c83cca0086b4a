"""Does a feature by itself predict the label implausibly well? Then it knows what it must not."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from include.features import FEATURES
from include.schemas import DEEP_FEATURES
from include.settings import settings
from include.suites import LEAK_MIN_CLICKS
from spark_jobs.checks import Record, record

SUSPECTS = (*(feature.name for feature in FEATURES), *DEEP_FEATURES)
"""Columns of `training` that are looked at one by one."""


def single_feature_auc(sample: pd.DataFrame) -> pd.Series:
    """AUC of each suspect column alone, `[columns] float64`, in either direction (0.5 to 1); nulls rank in the middle.

    `sample` has `label` and the suspect columns. From rank sums with ties averaged (Mann-Whitney U).
    """
    values = sample[[name for name in SUSPECTS if name in sample]].astype("float64")
    ranks = values.fillna(values.median()).fillna(0.0).rank()
    clicked = sample["label"].to_numpy() == 1
    clicks, others = int(clicked.sum()), int((~clicked).sum())
    auc = (ranks[clicked].sum() - clicks * (clicks + 1) / 2) / (clicks * others)
    return auc.where(auc >= 0.5, 1 - auc)


def leak_checks(sample: pd.DataFrame) -> Iterator[Record]:
    """One record a scene: no single feature reaches the AUC of the settings."""
    limit = settings().leak_auc
    for scene in settings().scenes:
        rows = sample[sample["scene"] == scene]
        yield _scene_check(scene, rows, limit)


def _scene_check(scene: str, rows: pd.DataFrame, limit: float) -> Record:
    common: dict[str, Any] = {"column": f"scene {scene}"}
    expected = f"every feature's AUC by itself below {limit:g}"
    clicks = int((rows["label"] == 1).sum())
    if min(clicks, len(rows) - clicks) < LEAK_MIN_CLICKS:
        return record("training", "expect_no_leak", True, expected, f"too few clicks to tell ({clicks})", **common)
    auc = single_feature_auc(rows).sort_values(ascending=False)
    leaking = auc[auc >= limit]
    told = ", ".join(f"{name} {value:.3f}" for name, value in (leaking if len(leaking) else auc.head(1)).items())
    return record("training", "expect_no_leak", leaking.empty, expected, told, failing_rows=len(rows), **common)
