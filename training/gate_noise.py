"""Seed noise of the gate's figures: what changes when a day's candidate is trained again with nothing but another seed.

The gate's bootstrap resamples users of two given models. It cannot know that each of them is one draw of its seed, so a margin
has to be wider than that: an equal candidate must not lose by its seed alone.
"""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import chi2

from include.console import err, out, show_rows
from include.errors import InvalidInputError, MissingDataError
from include.lake import lake
from include.settings import Settings
from include.version import code_version
from training.evaluation import rows_of, with_predictions
from training.gate_figures import figures
from training.gate_policy import ONE_SIDED, TWO_MODELS, Band, Noise, Policy, load_policy, section_of
from training.predictions import EvaluationRows
from training.start import start_of
from training.tables import only_days_before
from training.train import fit


@dataclass(frozen=True)
class Figure:
    """A figure of the gate over the seeds: its standard deviation, the largest difference of two of them, and its margin.

    `section` of the policy judges it with `margin`, of which seed noise alone needs `needed`; all three are None where the
    policy has no margin for it. A band's margin is from 1 to its nearer end.
    """

    figure: str
    sd: float
    largest: float
    section: str | None
    margin: float | None
    needed: float | None

    @classmethod
    def of(cls, name: str, values: Sequence[float], policy: Policy) -> "Figure":
        """From a figure's values, one for each seed."""
        sd, largest = float(np.std(values, ddof=1)), max(values) - min(values)
        section = section_of(name)
        if section is None:
            return cls(name, sd, largest, None, None, None)
        rule = getattr(policy, section)
        if isinstance(rule, Band):  # the candidate's own figure, not a difference of two
            return cls(name, sd, largest, section, min(1 - rule.low, rule.high - 1), ONE_SIDED * sd)
        return cls(name, sd, largest, section, rule.margin, TWO_MODELS * sd)

    @property
    def is_wider(self) -> bool | None:
        """Whether the margin is wider than the noise."""
        return None if self.margin is None or self.needed is None else self.margin >= self.needed


def run(day: date, settings: Settings, *, seeds: int, policy: Path | None = None) -> dict[str, Any]:
    """Trains the candidate of `day` with `seeds` other seeds and compares their figures on the day with a policy's margins.

    Every run has the days and the start of the day's candidate. Writes nothing, neither to the lake nor to the registry.
    `policy` is a file that the section `noise` shall be written to (default: the settings' policy, read only). Raises
    `InvalidInputError` for a policy that cannot be read or written, `MissingDataError` where there is nothing to train on.
    """
    started = time.monotonic()
    rules = _policy(policy, settings)
    store = lake()
    table = rows_of(store, day)
    with only_days_before(day):
        start = start_of(store, day, settings, scratch=False)
    if not start.days:
        raise MissingDataError(
            f"The candidate of {day} has no published day to learn from, so that no seed plays a part: choose a later day."
        )
    chosen = [settings.seed + 1 + n for n in range(seeds)]
    rows = EvaluationRows.of(with_predictions(table, None, None, None))
    measured = []
    for number, seed in enumerate(chosen, 1):
        err.print(f"Seed {seed} ({number} of {seeds})", highlight=False)
        with only_days_before(day):
            trained = fit(store, start.days, settings.model_copy(update={"seed": seed}), start.model)
        probability = trained.predictor.predict(table).probability
        measured.append(figures(replace(rows, candidate=probability), rules, settings.scenes))
    found = compare(measured, rules)
    return {
        "day": str(day),
        "model": settings.model,
        "base_version": start.version.version if start.version else None,
        "trained_from": str(start.days[0]),
        "trained_through": str(start.days[-1]),
        "seeds": chosen,
        "rows": len(rows.label),
        "code": code_version(),
        "policy": rules.name,
        "figures": [asdict(figure) | {"is_wider": figure.is_wider} for figure in found],
        "advice": advice(found, seeds),
        "seconds": round(time.monotonic() - started, 1),
    }


def _policy(path: Path | None, settings: Settings) -> Policy:
    if path and path.exists() and not os.access(path, os.W_OK):
        raise InvalidInputError(f"The gate policy {path} cannot be written: give `--write` a file of your own.")
    return load_policy(path or settings.gate_policy)


def compare(measured: Sequence[Mapping[str, float]], policy: Policy) -> list[Figure]:
    """Each figure over the seeds, beside its margin; `measured` are the figures of each seed."""
    return [Figure.of(name, [of_seed[name] for of_seed in measured], policy) for name in measured[0]]


def advice(found: Sequence[Figure], seeds: int) -> list[str]:
    """What to set where a margin is narrower than seed noise, a sentence for each section of the policy."""
    narrow: dict[str, Figure] = {}
    for figure in found:
        if figure.is_wider is False and figure.section is not None:
            narrow[figure.section] = max(
                figure, narrow.get(figure.section, figure), key=lambda each: each.needed or 0.0
            )
    told = [_sentence(figure) for figure in narrow.values()] or ["Every margin is wider than seed noise."]
    factor = math.sqrt((seeds - 1) / chi2.ppf(0.05, seeds - 1))
    return [
        *told,
        f"{seeds} seeds tell a standard deviation roughly: with 95 % confidence it is at most {factor:.1f} times what they show.",
    ]


def _sentence(figure: Figure) -> str:
    needed = _rounded_up(figure.needed or 0.0)
    why = f"seed noise alone moves {figure.figure} by as much in 5 % of runs"
    if figure.section in ("pcoc", "scene_pcoc"):
        return f"Set {figure.section}.low to at most {1 - needed:g} and {figure.section}.high to at least {1 + needed:g}: {why}."
    return f"Set {figure.section}.margin to at least {needed:g} (it is {figure.margin:g}): {why}."


def _rounded_up(value: float) -> float:
    """To two significant digits, never below the value."""
    digits = 1 - math.floor(math.log10(value))
    return round(math.ceil(value * 10**digits) / 10**digits, digits)


def section(result: Mapping[str, Any]) -> Noise:
    """The section `noise` of a policy, of what `run` returned."""
    sds = {figure["figure"]: round(figure["sd"], 6) for figure in result["figures"]}
    return Noise(day=result["day"], seeds=result["seeds"], rows=result["rows"], code=result["code"], figures=sds)


def show(result: Mapping[str, Any]) -> None:
    """Prints what `run` returned for a person: a line for each figure, and what to set."""
    lines = [
        {
            "figure": figure["figure"],
            "sd_of_seeds": figure["sd"],
            "largest_difference": figure["largest"],
            "policy's_margin": figure["margin"],
            "noise_needs": figure["needed"],
            "wider_than_noise": figure["is_wider"],
        }
        for figure in result["figures"]
    ]
    measured = f"{len(result['seeds'])} seeds, {result['rows']:,} rows, policy '{result['policy']}'"
    title = f"Seed noise of the candidate of {result['day']} ({measured})"
    show_rows(lines, title=title, as_json=False, empty="")
    for sentence in result["advice"]:
        out.print(sentence, highlight=False, markup=False)
