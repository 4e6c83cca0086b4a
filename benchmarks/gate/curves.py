"""The promotion gate on simulated worlds: how often it promotes a harmful model, and what ninety nights cost.

    python -m benchmarks.gate.curves [--seed 18] [--nights 200] [--chains 3] [--part healthy|harm|chains] [--workers 2]

The rows and the models' predictions are made (`benchmarks.gate.worlds`): no model is trained (`benchmarks.gate.days` does that).

- *healthy*: a candidate that is exactly as good as the champion, in worlds of 5, 15 and 60 scenes of Zipf's sizes, of 15,000 and
  100,000 rows, of models that continue each other or not; the base rate jumps by up to 20 % from night to night.
- *harm*: how often a candidate is promoted that has lost so much AUC overall, or on new items, that ranks one scene by chance, or
  whose probabilities are too high by a factor.
- *chains*: ninety nights in a row, each policy with its own champions, and regret: log loss lost to a policy that knows
  how good both models are. Beside the gate: always promote; promote where the day's AUC is not lower (what templates of TFX and
  MLOps ship); and margins that know nothing of the day (the default policy of this project until it was replaced by this one).

Figures come with their simulation error. Prints tables, writes JSON.
"""

import json
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks.gate.chains import CHAIN, run_chains
from benchmarks.gate.verdicts import Result, judged, share
from benchmarks.gate.worlds import Model, World, noise_that_loses
from benchmarks.machine import console, machine, result_file
from benchmarks.options import Out, one_of, run_benchmark
from training.gate.gate import Past

KNOWN_NIGHTS = 28
PARTS = ("healthy", "harm", "chains")


def one_night(world: World, seed: int, candidate: Model) -> Result:
    """Return the gate's decision on a candidate beside a sound champion calibrated to the night before."""
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
        """Return the seeds of its nights."""
        return range(10_000 * seed, 10_000 * seed + nights)


def healthy_cases() -> list[Case]:
    """Return candidates as good as the champion."""
    worlds = [World(15_000, scenes, own=own) for scenes in (5, 15, 60) for own in (0.02, 0.2)]
    worlds += [World(100_000, 15, own=own) for own in (0.02, 0.2)]
    return [Case("healthy", "none", world, Model(0)) for world in worlds]


def harm_cases() -> list[Case]:
    """Return candidates that are worse in one respect."""
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


def _night_of(case: Case, seed: int) -> Result:
    return one_night(case.world, seed, case.candidate)


def _cases(part: str) -> list[Case]:
    return healthy_cases() if part == "healthy" else harm_cases()


def run_cases(part: str, seed: int, nights: int, pool: ProcessPoolExecutor) -> list[Result]:
    """Count the verdicts of each case."""
    cases = _cases(part)
    work = [(case, night_seed) for case in cases for night_seed in case.seeds(seed, nights)]
    outcomes = list(pool.map(_night_of, *zip(*work, strict=True), chunksize=4))
    results = []
    for number, case in enumerate(cases):
        decisions = outcomes[number * nights : (number + 1) * nights]
        blocking: dict[str, int] = {}
        for decision in decisions:
            for name in decision["blocking"]:
                blocking[name] = blocking.get(name, 0) + 1
        verdicts = {
            v: share(sum(decision["verdict"] == v for decision in decisions), nights)
            for v in ("promote", "hold", "reject")
        }
        world = {"rows": case.world.rows, "scenes": case.world.scenes, "own": case.world.own}
        results.append(
            {"harm": case.harm, **world, **verdicts, "blocking": dict(sorted(blocking.items(), key=lambda p: -p[1]))}
        )
    return results


def show(result: Result) -> None:
    """Print a table for each part."""
    out = console(150)
    for part in ("healthy", "harm"):
        if part not in result:
            continue
        table = Table(title=part, box=None, padding=(0, 1), header_style="dim")
        for name in ("rows", "scenes", "own noise", "harm", "promote", "hold", "reject", "blocked by (nights)"):
            table.add_column(name, justify="left" if name in ("harm", "blocked by (nights)") else "right")
        for row in result[part]:
            shares = [f"{row[v]['share']:.1%} ± {row[v]['error']:.1%}" for v in ("promote", "hold", "reject")]
            why = ", ".join(f"{name} {count}" for name, count in list(row["blocking"].items())[:4])
            table.add_row(f"{row['rows']:,}", str(row["scenes"]), f"{row['own']:g}", row["harm"], *shares, why)
        out.print(table)
    if "chains" in result:
        table = Table(title=f"{CHAIN} nights", box=None, padding=(0, 1), header_style="dim")
        for name in ("world", "policy", "promoted", "better ones promoted", "regret", "log loss at the end"):
            table.add_column(name, justify="left" if name in ("world", "policy") else "right")
        for row in result["chains"]:
            error = "" if row["regret_error"] is None else f" ± {row['regret_error']:.4f}"
            better = f"{row['better_promoted']['share']:.1%} ± {row['better_promoted']['error']:.1%}"
            cells = (f"{row['promoted']:.1f}", better, f"{row['regret']:.4f}{error}", f"{row['last_change']:+.4f}")
            table.add_row(row["world"], row["policy"], *cells)
        out.print(table)


def main(
    seed: int = 18,
    nights: Annotated[int, typer.Option(help="nights of each case of healthy and harm")] = 200,
    chains: Annotated[int, typer.Option(help="chains of each world and policy")] = 3,
    part: Annotated[list[str] | None, one_of(PARTS)] = None,
    workers: Annotated[int | None, typer.Option(help="processes; default the cores")] = None,
    out: Out = None,
) -> None:
    """Run the promotion gate on worlds whose truth is known, print the tables of the parts, write JSON."""
    options = dict(locals())
    file = result_file("gate-curves", out)
    result: Result = {"machine": machine(), "options": options}
    with ProcessPoolExecutor(workers) as pool:
        for name in part or PARTS:
            if name == "chains":
                result[name] = run_chains(seed, chains, pool)
            else:
                result[name] = run_cases(name, seed, nights, pool)
            file.write_text(json.dumps(result, indent=1, default=os.fspath))
    show(result)
    print(file)


if __name__ == "__main__":
    run_benchmark(main)
