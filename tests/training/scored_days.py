"""Fabricated evaluation days: impressions with a known click probability, and models that see it more or less well."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from training.evaluate.predictions import SCHEMA, EvaluationRows

SCENES = ("0", "1", "2", "3", "4")
SHARES = (0.06, 0.26, 0.48, 0.12, 0.08)
LOGITS = (-1.6, -2.4, -2.0, -3.0, -1.2)
LEVELS = np.array(["zero", "few", "warm"])


@dataclass(frozen=True)
class Day:
    """A day's impressions, all `[rows]`: `logit` is the truth."""

    user: np.ndarray
    scene: np.ndarray
    user_level: np.ndarray
    item_level: np.ndarray
    logit: np.ndarray
    label: np.ndarray

    def rows(
        self, candidate: np.ndarray, champion: np.ndarray | None = None, anchor: np.ndarray | None = None
    ) -> EvaluationRows:
        count = len(self.label)
        return EvaluationRows(
            event_id=pa.array([str(n) for n in range(count)]),
            user=self.user,
            scene=self.scene,
            user_level=self.user_level,
            item_level=self.item_level,
            label=self.label,
            candidate=candidate,
            champion=champion,
            anchor=anchor,
            baseline=None,
            alpha=np.full(count, 0.25),
        )


def make_day(rows: int, seed: int = 0, *, users: int | None = None, taste: float = 1.0) -> Day:
    """Zipf-like users, AntM2C's scene shares, a quarter of the impressions on unknown items."""
    random = np.random.default_rng(seed)
    users = users or rows // 6
    user = np.unique((users * random.random(rows) ** 2).astype(np.int64), return_inverse=True)[1]
    scene = random.choice(len(SCENES), rows, p=SHARES)
    of_user = random.normal(scale=0.5, size=users)[user]
    logit = np.array(LOGITS)[scene] + of_user + random.normal(scale=taste, size=rows)
    level_of_user = random.choice(LEVELS, users, p=[0.2, 0.3, 0.5])
    return Day(
        user=user,
        scene=np.array(SCENES)[scene],
        user_level=level_of_user[user],
        item_level=random.choice(LEVELS, rows, p=[0.25, 0.25, 0.5]),
        logit=logit,
        label=(random.random(rows) < sigmoid(logit)).astype(np.int64),
    )


def model(day: Day, seed: int, *, noise: float = 0.7, own: float = 0.4, where: np.ndarray | None = None) -> np.ndarray:
    """Predictions of a model that sees the truth through noise; models of one day share all but `own` of its variance.

    In the rows `where`, nothing but the noise is left: the model knows nothing there.
    """
    shared = np.random.default_rng(len(day.label)).normal(size=len(day.label))
    of_model = np.random.default_rng([seed, 1]).normal(size=len(day.label))
    seen = day.logit + noise * (np.sqrt(1 - own) * shared + np.sqrt(own) * of_model)
    spread = day.logit.var() / (day.logit.var() + noise**2)
    calm = day.logit.mean() + spread * (seen - day.logit.mean())
    if where is not None:
        calm = np.where(where, day.logit[where].mean() + 1.0 * of_model, calm)
    return calibrated(day, sigmoid(calm))


def calibrated(day: Day, probability: np.ndarray) -> np.ndarray:
    """Scaled scene by scene to the true mean probability."""
    result = probability.copy()
    for scene in SCENES:
        chosen = day.scene == scene
        result[chosen] *= sigmoid(day.logit[chosen]).mean() / probability[chosen].mean()
    return np.clip(result, 1e-6, 1 - 1e-6)


def with_levels(day: Day, **levels: np.ndarray) -> Day:
    """The day with other levels."""
    return replace(day, **levels)


def sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


def as_table(rows: EvaluationRows) -> pa.Table:
    """The rows as they lie in `predictions.orc`."""
    count = len(rows.label)
    columns = {
        "event_id": rows.event_id,
        "user_id": pa.array([f"u{user}" for user in rows.user]),
        "item_id": pa.array(["i"] * count),
        "scene": pa.array(rows.scene.tolist()),
        "user_level": pa.array(rows.user_level.tolist()),
        "item_level": pa.array(rows.item_level.tolist()),
        "label": pa.array(rows.label, pa.int8()),
        "candidate": pa.array(rows.candidate),
        "champion": pa.nulls(count, pa.float64()) if rows.champion is None else pa.array(rows.champion),
        "anchor": pa.nulls(count, pa.float64()) if rows.anchor is None else pa.array(rows.anchor),
        "baseline": pa.nulls(count, pa.float64()),
        "alpha": pa.array(rows.alpha),
    }
    return pa.table(columns, schema=SCHEMA)
