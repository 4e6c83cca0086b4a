"""The promotion gate on worlds whose truth is known: how often it promotes what does how much harm, and what ninety nights lose.

    python -m benchmarks.gate_curves [--seed 18] [--nights 200] [--chains 3] [--part healthy|harm|chains] [--workers 2]

The rows and the models' predictions are made (`benchmarks.gate_worlds`): no model is trained (`benchmarks.gate_days` does that).

- *healthy*: a candidate that is exactly as good as the champion, in worlds of 5, 15 and 60 scenes of Zipf's sizes, of 15,000 and
  100,000 rows, of models that continue each other or not; the base rate jumps by up to 20 % from night to night.
- *harm*: how often a candidate is promoted that has lost so much AUC overall, or on new items, that ranks one scene by chance, or
  whose probabilities are so many times too high.
- *chains*: ninety nights in a row, each policy with the champions that it chose, and regret: log loss lost to a policy that knows
  how good both models are. Beside the gate: always promote; promote where the day's AUC is not lower (what templates of TFX and
  MLOps ship); and margins that know nothing of the day (the default policy of this project until it was replaced by this one).

Figures come with their simulation error. Prints tables, writes JSON.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache, partial
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.gate_outcomes import expected_log_loss
from benchmarks.gate_worlds import Model, World, night, noise_that_loses
from benchmarks.machine import console, machine, result_file
from include.registry import ModelVersion, anchor
from include.settings import PROJECT
from training.day_metrics import evaluate
from training.gate import Past, judge, verdict_of
from training.gate_policy import load_policy

POLICY = load_policy(PROJECT / "include/policies/gate.yaml")
RESAMPLES = 100
CHAIN = 90
KNOWN_NIGHTS = 28
FIRST = date(2024, 1, 1)
Result = dict[str, Any]


def judged(
    world: World, seed: int, candidate: Model, champion: Model, other: Model | None, past: Past
) -> tuple[Result, Result]:
    """Evaluation of a night, and what the gate makes of it: verdict, blocking rules, and what later nights need."""
    rows = night(world, seed)
    evaluation = evaluate(rows.scored(candidate, champion, other), world.names, RESAMPLES, (seed,), cells=False)
    evaluation["anchor"] = {"version": past.anchor, "log_day": "before", "note": None} if other else None
    found = judge(evaluation, POLICY, past)
    return evaluation, {
        "verdict": verdict_of(found.rules),
        "blocking": [rule.name for rule in found.rules if rule.verdict in ("hold", "reject")],
        "loss_shown": found.loss_shown,
        "sums": found.sums,
        "pcoc": found.pcoc,
    }


def one_night(world: World, seed: int, candidate: Model) -> Result:
    """What becomes of a candidate beside a sound champion that is calibrated to the night before the candidate's."""
    random = np.random.default_rng([seed, 3])
    levels = np.log(1 + random.uniform(-world.jump, world.jump, KNOWN_NIGHTS + 2))
    champion = Model(seed=2 * seed, level=levels[-2])
    candidate = replace(candidate, seed=2 * seed + 1, level=levels[-1])
    past = Past(pcoc=dict.fromkeys(("all", *world.names), np.diff(levels[:-1]).tolist()))
    return judged(world, seed, candidate, champion, None, past)[1]


@dataclass(frozen=True)
class Case:
    """A kind of candidate in a world; `harm` says how it differs from the champion."""

    part: str
    harm: str
    world: World
    candidate: Model

    def seeds(self, seed: int, nights: int) -> Iterable[int]:
        """The seeds of its nights."""
        return range(10_000 * seed, 10_000 * seed + nights)


def healthy_cases() -> list[Case]:
    """As good as the champion."""
    worlds = [World(15_000, scenes, own=own) for scenes in (5, 15, 60) for own in (0.02, 0.2)]
    worlds += [World(100_000, 15, own=own) for own in (0.02, 0.2)]
    return [Case("healthy", "none", world, Model(0)) for world in worlds]


def harm_cases() -> list[Case]:
    """Worse in one respect."""
    small, large = World(15_000), World(100_000)
    cases = [
        Case("harm", f"AUC -{loss:g}", world, Model(0, noise=noise_that_loses(loss)))
        for world in (small, large)
        for loss in (0.001, 0.002, 0.003, 0.005, 0.01)
    ]
    cases += [
        Case("harm", f"AUC of new items -{loss:g}", large, Model(0, cold_noise=noise_that_loses(loss, cold=True)))
        for loss in (0.005, 0.02, 0.05)
    ]
    # Of 15,000 rows these scenes have about 210, 90 and 40 clicks a night.
    cases += [
        Case("harm", f"scene {name} by chance", small, Model(0, broken=(name,))) for name in ("s01", "s08", "s10")
    ]
    cases += [Case("harm", f"probabilities x {factor:g}", small, Model(0, factor=factor)) for factor in (1.1, 1.3, 1.6)]
    return cases


# Chains


@cache
def true_loss(scenes: int, model: Model) -> float:
    """Log loss of a model of the night's own level (`model` has no seed and no level) by true probabilities of a large night."""
    large = night(World(50_000, scenes, jump=0.0), 2)
    return expected_log_loss(large.truth, large.predict(model))


Faults = Callable[[int, np.random.Generator], Model]


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
    """A model after so many nights in a world that drifts."""
    return replace(model, noise=sqrt(model.noise**2 + nights * noise_that_loses(drift) ** 2)) if drift else model


class Line:
    """The models that a policy has in use, night by night, with what the gate remembers of them."""

    def __init__(self, first: Model) -> None:
        self.models: dict[int, tuple[int, Model]] = {1: (-1, first)}
        self.known = [_version(1, -1)]
        self.current = 1
        self.last: tuple[int | None, Result] = (None, {"loss_shown": False})
        self.pcoc: dict[str, list[float]] = {}

    def anchor(self, number: int) -> int | None:
        """The version that the night is compared with beside the champion, as `training.evaluation` chooses it."""
        before, decision = self.last
        found = anchor(_day(number), self.known)
        chosen = before if decision["loss_shown"] else found.version if found else None
        return None if chosen == self.current else chosen

    def past(self, version: int | None) -> Past:
        """What the gate reads of earlier nights."""
        before, decision = self.last
        sums = decision["sums"] if version is not None and before == version else {}
        return Past(version, sums, {group: values[-28:] for group, values in self.pcoc.items()})

    def promote(self, number: int, model: Model) -> None:
        """Puts the night's candidate in use."""
        self.current = len(self.models) + 1
        self.models[self.current] = (number, model)
        self.known.append(_version(self.current, number))


def chain(kind: str, policy: str, seed: int, nights: int = CHAIN) -> list[Result]:
    """Ninety nights of a policy: verdict, and the true log loss that it lost to one who knows both models."""
    world, drift = World(), 0.001 if kind == "drifting" else 0.0
    random = np.random.default_rng([seed, 17])
    levels = np.log(1 + random.uniform(-world.jump, world.jump, nights + 2))
    first_model = replace(_healthy(0, random), level=levels[0])
    line, best, results = Line(first_model), [(-1, first_model)], []
    for number in range(nights):
        candidate = replace(CHAINS[kind](number, random), seed=number + 1, level=levels[number + 1])

        def now(entry: tuple[int, Model], night_number: int = number) -> Model:
            return aged(entry[1], night_number - entry[0] - 1, drift)

        champion = now(line.models[line.current])
        first = line.anchor(number)
        past = line.past(first)
        evaluation, decision = judged(
            world, 1000 * seed + number, candidate, champion, now(line.models[first]) if first else None, past
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
    """True log loss of a model on the day after the night."""
    return true_loss(scenes, replace(aged(entry[1], number - entry[0], drift), seed=0, level=0.0))


def _not_lower(evaluation: Result, _: Result) -> bool:
    return bool(evaluation["headline"]["change"]["auc"]["value"] >= 0)


def _fixed_margins(evaluation: Result, _: Result) -> bool:
    """Mean GAUC over scenes proven not lower by 0.001, PCOC within 0.95 to 1.05: the two rules that held most nights."""
    mean, own = (
        evaluation["headline"]["change"]["scene_mean_gauc"],
        evaluation["headline"]["candidate"]["pcoc"]["value"],
    )
    return bool(mean["value"] - (mean["high"] - mean["low"]) / 3.92 * 1.645 >= -0.001 and 0.95 <= own <= 1.05)


POLICIES: dict[str, Callable[[Result, Result], bool]] = {
    "gate": lambda _, decision: decision["verdict"] == "promote",
    "always": lambda *_: True,
    "AUC not lower": _not_lower,
    "fixed margins": _fixed_margins,
}


def _day(number: int) -> date:
    return FIRST + timedelta(days=number)


def _version(number: int, of_night: int) -> ModelVersion:
    nothing: Result = dict.fromkeys(ModelVersion.__dataclass_fields__)
    known: Result = {"version": number, "log_day": _day(of_night), "promoted_at": f"{number:05}", "aliases": ()}
    return ModelVersion(**(nothing | known))


# Running and telling


def share(hits: int, of: int) -> Result:
    """A share with its simulation error (one standard error; of none and of all, that of one more)."""
    inside = min(max(hits, 1), of - 1) / of
    return {"share": hits / of, "error": sqrt(inside * (1 - inside) / of), "of": of}


def _night_of(case: Case, seed: int) -> Result:
    return one_night(case.world, seed, case.candidate)


def _cases(part: str) -> list[Case]:
    return healthy_cases() if part == "healthy" else harm_cases()


def run_cases(part: str, seed: int, nights: int, pool: ProcessPoolExecutor) -> list[Result]:
    """Verdicts of each case."""
    cases = _cases(part)
    work = [(case, one) for case in cases for one in case.seeds(seed, nights)]
    outcomes = list(pool.map(_night_of, *zip(*work, strict=True), chunksize=4))
    results = []
    for number, case in enumerate(cases):
        found = outcomes[number * nights : (number + 1) * nights]
        blocking: dict[str, int] = {}
        for one in found:
            for name in one["blocking"]:
                blocking[name] = blocking.get(name, 0) + 1
        verdicts = {v: share(sum(one["verdict"] == v for one in found), nights) for v in ("promote", "hold", "reject")}
        of = {"rows": case.world.rows, "scenes": case.world.scenes, "own": case.world.own}
        results.append(
            {"harm": case.harm, **of, **verdicts, "blocking": dict(sorted(blocking.items(), key=lambda p: -p[1]))}
        )
    return results


def run_chains(seed: int, chains: int, pool: ProcessPoolExecutor) -> list[Result]:
    """Each world and policy, over several chains."""
    work = [(kind, policy, seed + n) for kind in CHAINS for policy in POLICIES for n in range(chains)]
    outcomes = dict(zip(work, pool.map(chain, *zip(*work, strict=True)), strict=True))
    results = []
    for kind in CHAINS:
        for policy in POLICIES:
            found = [outcomes[kind, policy, seed + n] for n in range(chains)]
            regret = [sum(one["regret"] for one in nights) for nights in found]
            better = [one for nights in found for one in nights if one["better"]]
            results.append(
                {
                    "world": kind,
                    "policy": policy,
                    "promoted": sum(one["promoted"] for nights in found for one in nights) / chains,
                    "regret": float(np.mean(regret)),
                    "regret_error": float(np.std(regret, ddof=1) / sqrt(chains)) if chains > 1 else None,
                    "better_promoted": share(sum(one["promoted"] for one in better), len(better)),
                    "last_change": float(np.mean([nights[-1]["change"] for nights in found])),
                    "nights": found,
                }
            )
    return results


def show(result: Result) -> None:
    """Prints a table for each part."""
    out = console(150)
    for part in ("healthy", "harm"):
        if part not in result:
            continue
        table = Table(title=part, box=None, padding=(0, 1), header_style="dim")
        for name in ("rows", "scenes", "own noise", "harm", "promote", "hold", "reject", "blocked by (nights)"):
            table.add_column(name, justify="left" if name in ("harm", "blocked by (nights)") else "right")
        for one in result[part]:
            shares = [f"{one[v]['share']:.1%} ± {one[v]['error']:.1%}" for v in ("promote", "hold", "reject")]
            why = ", ".join(f"{name} {count}" for name, count in list(one["blocking"].items())[:4])
            table.add_row(f"{one['rows']:,}", str(one["scenes"]), f"{one['own']:g}", one["harm"], *shares, why)
        out.print(table)
    if "chains" in result:
        table = Table(title=f"{CHAIN} nights", box=None, padding=(0, 1), header_style="dim")
        for name in ("world", "policy", "promoted", "better ones promoted", "regret", "log loss at the end"):
            table.add_column(name, justify="left" if name in ("world", "policy") else "right")
        for one in result["chains"]:
            error = "" if one["regret_error"] is None else f" ± {one['regret_error']:.4f}"
            better = f"{one['better_promoted']['share']:.1%} ± {one['better_promoted']['error']:.1%}"
            cells = (f"{one['promoted']:.1f}", better, f"{one['regret']:.4f}{error}", f"{one['last_change']:+.4f}")
            table.add_row(one["world"], one["policy"], *cells)
        out.print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the parts, prints their tables, writes JSON."""
    parser = argparse.ArgumentParser(description="The promotion gate on worlds whose truth is known.")
    parser.add_argument("--seed", type=int, default=18)
    parser.add_argument("--nights", type=int, default=200, help="nights of each case of healthy and harm")
    parser.add_argument("--chains", type=int, default=3, help="chains of each world and policy")
    parser.add_argument("--part", choices=("healthy", "harm", "chains"), action="append")
    parser.add_argument("--workers", type=int, help="processes; default the cores")
    parser.add_argument("--out", type=Path, help="JSON file; default .ctr/bench/gate-curves-….json")
    given = parser.parse_args(argv)
    out = result_file("gate-curves", given.out)
    options = {name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items()}
    result: Result = {"machine": machine(), "options": options}
    with ProcessPoolExecutor(given.workers) as pool:
        for part in given.part or ("healthy", "harm", "chains"):
            if part == "chains":
                result[part] = run_chains(given.seed, given.chains, pool)
            else:
                result[part] = run_cases(part, given.seed, given.nights, pool)
            out.write_text(json.dumps(result, indent=1))
    show(result)
    print(out)


if __name__ == "__main__":
    main()
