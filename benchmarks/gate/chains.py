"""Ninety consecutive nights for `benchmarks.gate.curves`: each policy with its own champions, and the log loss it costs."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from functools import cache, partial
from math import sqrt

import numpy as np

from benchmarks.gate.outcomes import expected_log_loss
from benchmarks.gate.verdicts import Result, judged, share
from benchmarks.gate.worlds import Model, World, night, noise_that_loses
from include.metrics_records import DayMetrics, Estimates, Interval
from include.registry.model_version import ModelVersion
from include.registry.registry import anchor
from training.gate.gate import Past

CHAIN = 90
FIRST = date(2024, 1, 1)
Faults = Callable[[int, np.random.Generator], Model]
"""From the number of a night to its candidate."""


@cache
def true_loss(scenes: int, model: Model) -> float:
    """Return the log loss of a model calibrated to the night (without seed and level) by true probabilities of a large night."""
    large = night(World(50_000, scenes, jump=0.0), 2)
    return expected_log_loss(large.truth, large.predict(model))


def _healthy(_: int, random: np.random.Generator) -> Model:
    return Model(0, noise=noise_that_loses(float(random.uniform(0.0002, 0.002))))


def _planted(number: int, random: np.random.Generator) -> Model:
    sound = _healthy(number, random)
    fault = number % 10
    harms: dict[int, Callable[[], Model]] = {
        3: lambda: replace(sound, broken=("s00",)),
        5: lambda: replace(sound, noise=noise_that_loses(0.02)),
        7: lambda: replace(sound, factor=1.6),
        9: lambda: replace(sound, broken=("s03",)),
    }
    return harms.get(fault, lambda: sound)()


def _declining(number: int, _: np.random.Generator) -> Model:
    return Model(0, noise=noise_that_loses(0.0009 * (number + 1)))


def _broken_scene(number: int, random: np.random.Generator) -> Model:
    return replace(_healthy(number, random), broken=("s10",) if number >= 20 else ())


CHAINS: dict[str, Faults] = {
    "healthy": _healthy,
    "drifting": _healthy,
    "planted harm": _planted,
    "0.0009 a night": _declining,
    "small scene broken": _broken_scene,
}
"""Worlds of a chain: in the drifting one a model loses 0.001 of AUC a night that it grows older."""


def aged(model: Model, nights: int, drift: float) -> Model:
    """Return a model after `nights` in a world that drifts."""
    return replace(model, noise=sqrt(model.noise**2 + nights * noise_that_loses(drift) ** 2)) if drift else model


class Line:
    """The models that a policy has used, night by night, with the gate's memory of them."""

    def __init__(self, first: Model) -> None:
        self.models: dict[int, tuple[int, Model]] = {1: (-1, first)}
        self.versions = [_version(1, -1)]
        self.current = 1
        self.last: tuple[int | None, Result] = (None, {"loss_shown": False})
        self.pcoc: dict[str, list[float]] = {}

    def anchor(self, number: int) -> int | None:
        """Return the anchor: the version compared beside the champion, as `training.evaluate.evaluation` chooses it."""
        before, decision = self.last
        default = anchor(_day(number), self.versions)
        chosen = before if decision["loss_shown"] else default.version if default else None
        return None if chosen == self.current else chosen

    def past(self, version: int | None) -> Past:
        """Return the gate's memory of earlier nights."""
        before, decision = self.last
        sums = decision["sums"] if version is not None and before == version else {}
        return Past(version, sums, {group: values[-28:] for group, values in self.pcoc.items()})

    def promote(self, number: int, model: Model) -> None:
        """Make the night's candidate the champion."""
        self.current = len(self.models) + 1
        self.models[self.current] = (number, model)
        self.versions.append(_version(self.current, number))


def chain(kind: str, policy: str, seed: int, nights: int = CHAIN) -> list[Result]:
    """Return ninety nights of a policy: verdicts, and the true log loss lost to a policy that knows both models."""
    world = World()
    drift = 0.001 if kind == "drifting" else 0.0
    random = np.random.default_rng([seed, 17])
    levels = np.log(1 + random.uniform(-world.jump, world.jump, nights + 2))
    first_model = replace(_healthy(0, random), level=levels[0])
    line = Line(first_model)
    best = [(-1, first_model)]
    results = []
    for number in range(nights):
        candidate = replace(CHAINS[kind](number, random), seed=number + 1, level=levels[number + 1])

        def current(entry: tuple[int, Model], night_number: int = number) -> Model:
            return aged(entry[1], night_number - entry[0] - 1, drift)

        champion = current(line.models[line.current])
        first = line.anchor(number)
        past = line.past(first)
        evaluation, decision = judged(
            world, 1000 * seed + number, candidate, champion, current(line.models[first]) if first else None, past
        )
        for group, value in decision["pcoc"].items():
            line.pcoc.setdefault(group, []).append(value)
        promoted = POLICIES[policy](evaluation, decision)
        if promoted:
            line.promote(number, candidate)
        line.last = (first, decision)
        loss = partial(_loss, world.scenes, number, drift)
        best = [min([*best, (number, candidate)], key=loss)]
        results.append(
            {
                "night": number,
                "promoted": promoted,
                "verdict": decision["verdict"],
                "blocking": decision["blocking"],
                "regret": loss(line.models[line.current]) - loss(best[0]),
                "change": loss(line.models[line.current]) - true_loss(world.scenes, Model(0)),
                "better": loss((number, candidate)) <= loss((number, champion)),
            }
        )
    return results


def _loss(scenes: int, number: int, drift: float, entry: tuple[int, Model]) -> float:
    """Return the true log loss of a model on the day after the night."""
    return true_loss(scenes, replace(aged(entry[1], number - entry[0], drift), seed=0, level=0.0))


def _interval(estimates: Estimates | None, metric: str) -> Interval:
    interval = (estimates or {})[metric].interval
    assert interval is not None, "a simulated night has clicks enough"
    return interval


def _not_lower(metrics: DayMetrics, _: Result) -> bool:
    return _interval(metrics.headline.change, "auc").value >= 0


def _fixed_margins(metrics: DayMetrics, _: Result) -> bool:
    """Mean GAUC over scenes proven not lower by 0.001, PCOC within 0.95 to 1.05: the two rules that held most nights."""
    change = _interval(metrics.headline.change, "scene_mean_gauc")
    pcoc = _interval(metrics.headline.candidate, "pcoc").value
    lower_bound = change.value - (change.high - change.low) / 3.92 * 1.645
    return lower_bound >= -0.001 and 0.95 <= pcoc <= 1.05


POLICIES: dict[str, Callable[[DayMetrics, Result], bool]] = {
    "gate": lambda _, decision: decision["verdict"] == "promote",
    "always": lambda *_: True,
    "AUC not lower": _not_lower,
    "fixed margins": _fixed_margins,
}


def _day(number: int) -> date:
    return FIRST + timedelta(days=number)


def _version(number: int, of_night: int) -> ModelVersion:
    empty: Result = dict.fromkeys(ModelVersion.__dataclass_fields__)
    values: Result = {"version": number, "log_day": _day(of_night), "promoted_at": f"{number:05}", "aliases": ()}
    return ModelVersion(**(empty | values))


def run_chains(seed: int, chains: int, pool: ProcessPoolExecutor) -> list[Result]:
    """Run each world and policy over several chains."""
    work = [(kind, policy, seed + n) for kind in CHAINS for policy in POLICIES for n in range(chains)]
    outcomes = dict(zip(work, pool.map(chain, *zip(*work, strict=True)), strict=True))
    results = []
    for kind in CHAINS:
        for policy in POLICIES:
            runs = [outcomes[kind, policy, seed + n] for n in range(chains)]
            regret = [sum(night["regret"] for night in nights) for nights in runs]
            better = [night for nights in runs for night in nights if night["better"]]
            results.append(
                {
                    "world": kind,
                    "policy": policy,
                    "promoted": sum(night["promoted"] for nights in runs for night in nights) / chains,
                    "regret": float(np.mean(regret)),
                    "regret_error": float(np.std(regret, ddof=1) / sqrt(chains)) if chains > 1 else None,
                    "better_promoted": share(sum(night["promoted"] for night in better), len(better)),
                    "last_change": float(np.mean([nights[-1]["change"] for nights in runs])),
                    "nights": runs,
                }
            )
    return results
