"""Simulated worlds for `benchmarks.gate.curves`: nights of rows scored by models of a chosen quality.

A row's click probability is known. A model sees its logit through noise, which it shares in part with other models, and is
calibrated to the base rate of the night before the one that it is judged on; so every model misses a base rate that jumps.
"""

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pyarrow as pa
from scipy.special import expit

from benchmarks.gate.outcomes import expected_auc
from training.evaluate.metrics import Floats, Integers
from training.evaluate.predictions import EvaluationRows

LEVELS = np.array(["zero", "few", "warm"])
SHARED = 0.7
"""Standard deviation of the noise, on the logit's scale, through which every model sees a row."""
_NOISE = np.r_[0.0, np.geomspace(0.03, 2.5, 24)]
_OF_ROWS = ("user", "scene", "user_level", "item_level", "logit", "label", "shared")


@dataclass(frozen=True)
class World:
    """A log: rows a night, scenes by Zipf's law, the largest jump of the base rate from night to night, and how much of a model's
    noise is its own (0.02: continued from each other; 0.2: each trained from scratch)."""

    rows: int = 15_000
    scenes: int = 15
    jump: float = 0.2
    own: float = 0.02

    @property
    def names(self) -> tuple[str, ...]:
        """The scenes, the largest first."""
        return tuple(f"s{number:02}" for number in range(self.scenes))

    @property
    def shares(self) -> Floats:
        """Each scene's share of the rows."""
        weight = 1 / np.arange(1, self.scenes + 1) ** 1.2
        return weight / weight.sum()


@dataclass(frozen=True)
class Model:
    """A model by its faults: `noise` beyond `SHARED`, scenes that it ranks by nothing but chance, noise on new items, a factor on
    all its probabilities; `level` is the log of the base rate that it is calibrated to, `seed` that of its own noise."""

    seed: int
    noise: float = 0.0
    broken: tuple[str, ...] = ()
    cold_noise: float = 0.0
    factor: float = 1.0
    level: float = 0.0


@dataclass(frozen=True)
class Night:
    """A night's rows `[n]`; `jump` is the log of the factor on its base rate."""

    world: World
    seed: int
    jump: float
    user: Integers
    scene: np.ndarray
    user_level: np.ndarray
    item_level: np.ndarray
    logit: Floats
    label: Integers
    shared: Floats = field(repr=False)

    @property
    def truth(self) -> Floats:
        """`[n]` click probabilities."""
        return expit(self.logit + self.jump)

    def predict(self, model: Model) -> Floats:
        """Return a model's probabilities `[n]`, calibrated to its own level."""
        own = np.random.default_rng([model.seed, self.seed]).normal(size=len(self.label))
        spread = SHARED**2 + model.noise**2 + np.where(self.item_level == "zero", model.cold_noise**2, 0.0)
        common = SHARED * np.sqrt(1 - self.world.own) * self.shared
        seen = self.logit + common + np.sqrt(spread - SHARED**2 * (1 - self.world.own)) * own
        mean = self.logit.mean()
        variance = self.logit.var()
        score = mean + variance / (variance + spread) * (seen - mean)
        for name in model.broken:
            chosen = self.scene == name
            score[chosen] = np.random.default_rng([model.seed, 7]).permutation(score[chosen])
        return np.clip(model.factor * expit(score + model.level), 1e-6, 1 - 1e-6)

    def scored(self, candidate: Model, champion: Model | None = None, anchor: Model | None = None) -> EvaluationRows:
        """Return the night in the form that `python -m training evaluate` writes."""
        return EvaluationRows(
            event_id=pa.array(np.arange(len(self.label)).astype(str)),
            user=self.user,
            scene=self.scene,
            user_level=self.user_level,
            item_level=self.item_level,
            label=self.label,
            candidate=self.predict(candidate),
            champion=self.predict(champion) if champion else None,
            anchor=self.predict(anchor) if anchor else None,
            baseline=None,
            alpha=np.full(len(self.label), 0.25),
        )


def night(world: World, seed: int, *, jump: float | None = None) -> Night:
    """Return a night of the world; its base rate jumps at random unless `jump` (a log) is given."""
    random = np.random.default_rng([seed, 11])
    chance = float(np.log(1 + random.uniform(-world.jump, world.jump)))
    users = max(world.rows // 6, 1)
    user = np.unique((users * random.random(world.rows) ** 2).astype(np.int64), return_inverse=True)[1]
    scene_index = random.choice(world.scenes, world.rows, p=world.shares)
    scene_logit = np.random.default_rng(5).normal(-2.0, 0.6, world.scenes)
    logit = scene_logit[scene_index] + random.normal(scale=0.5, size=users)[user] + random.normal(size=world.rows)
    log_jump = chance if jump is None else jump
    return Night(
        world=world,
        seed=seed,
        jump=log_jump,
        user=user,
        scene=np.array(world.names)[scene_index],
        user_level=random.choice(LEVELS, users, p=[0.2, 0.3, 0.5])[user],
        item_level=random.choice(LEVELS, world.rows, p=[0.25, 0.25, 0.5]),
        logit=logit,
        label=(random.random(world.rows) < expit(logit + log_jump)).astype(np.int64),
        shared=random.normal(size=world.rows),
    )


def noise_that_loses(auc: float, *, cold: bool = False) -> float:
    """Return the noise that lowers the true AUC by `auc`, of all rows or of the rows of new items."""
    return float(np.interp(auc, _lost(cold), _NOISE))


@cache
def _lost(cold: bool) -> list[float]:
    """Return the true AUC that each level of `_NOISE` costs."""
    large = night(World(rows=200_000, scenes=5, jump=0.0), 1)
    chosen = large.item_level == "zero" if cold else np.ones(len(large.label), bool)
    rows = replace(large, **{name: getattr(large, name)[chosen] for name in _OF_ROWS})
    sound, *noisy = (expected_auc(rows.truth, rows.predict(Model(1, noise=noise))) for noise in (0.0, *_NOISE))
    return [sound - auc for auc in noisy]
