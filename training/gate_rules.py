"""The gate's rules: each looks at one piece of evidence and gives a verdict and a sentence.

How a margin rule decides, and why, is told in `include/policies/gate.yaml`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from training.gate_policy import TWO_MODELS, Band, Margin, Noise, Sanity
from training.metrics import Floats

Verdict = Literal["pass", "note", "hold", "reject"]

POWER = 0.8


@dataclass(frozen=True)
class Rule:
    """One rule's outcome; a `note` does not stand in the way of promotion."""

    name: str
    verdict: Verdict
    sentence: str
    evidence: dict[str, Any]


@dataclass(frozen=True)
class Levels:
    """Error rates: of one bound, and of the day's comparisons together, of which each gets its share."""

    alpha: float
    reject_alpha: float
    comparisons: int = 1


@dataclass(frozen=True)
class Change:
    """A paired change of a metric, higher being better, with one-sided bounds from its bootstrap standard error.

    `lower` is at alpha, `upper` at alpha and `surely` at reject_alpha, these two over the number of comparisons;
    `detectable` is the smallest loss that the data would have shown with 80 % power.
    """

    change: float
    lower: float
    upper: float
    surely: float
    se: float
    detectable: float

    @classmethod
    def of(cls, change: float, draws: Floats, levels: Levels) -> "Change | None":
        """From the sample's change and its resamples; None where too few resamples are defined.

        Normal bounds, as a thousand resamples say little of the tail that many comparisons need.
        """
        draws = draws[np.isfinite(draws)]
        if not np.isfinite(change) or len(draws) < 100:
            return None
        se = float(draws.std())
        of_one = _quantile(1 - levels.alpha)
        return cls(
            change=float(change),
            lower=float(change - se * of_one),
            upper=float(change + se * _quantile(1 - levels.alpha / levels.comparisons)),
            surely=float(change + se * _quantile(1 - levels.reject_alpha / levels.comparisons)),
            se=se,
            detectable=se * (of_one + _quantile(POWER)),
        )

    def passes_if_equal(self, margin: float, alpha: float) -> float:
        """Chance that a candidate which equals the champion passes with this margin, on such a day."""
        if self.se == 0:
            return 1.0
        return NormalDist().cdf(margin / self.se - _quantile(1 - alpha))


def non_inferior(name: str, what: str, change: Change, rule: Margin) -> Rule:
    """Not worse than the champion by more than the margin."""
    verdict: Verdict
    below = change.change < -rule.margin
    if change.lower >= -rule.margin:
        verdict = "pass"
        says = "better" if change.lower > 0 else f"the loss, if any, is within the margin {rule.margin:g}"
    elif below and change.upper < 0:
        verdict = "reject" if change.surely < 0 else "hold"
        says = f"it is worse, and by more than the margin {rule.margin:g}"
        if verdict == "hold":
            says += "; chance alone shows as much on some days, so a person decides"
    else:
        holds = rule.uncertain == "hold" or (rule.uncertain == "hold_if_below" and below)
        verdict = "hold" if holds else "note"
        says = (
            f"the day's data cannot tell whether the loss exceeds the margin {rule.margin:g}; "
            f"the smallest loss it could have shown is {change.detectable:.4f}"
        )
    sentence = f"{what} changed by {change.change:+.4f} (bounds {change.lower:+.4f} to {change.upper:+.4f}): {says}."
    return Rule(name, verdict, sentence, {**_rounded(asdict(change)), "margin": rule.margin})


def within_band(
    name: str, what: str, value: float, bounds: tuple[float, float], band: Band, other: float | None
) -> Rule:
    """Inside a band, or the band's `uncertain` where the interval reaches into it; outside it, but nearer to 1 than the
    champion, a person decides.
    """
    low, high = bounds
    evidence = {
        **_rounded({"value": value, "low": low, "high": high}),
        "band": [band.low, band.high],
        "champion": other,
    }
    told = f"{what} is {value:.3f} ({low:.3f} to {high:.3f})"
    target = f"the band {band.low:g} to {band.high:g}"
    if band.low <= value <= band.high:
        return Rule(name, "pass", f"{told}: inside {target}.", evidence)
    farther = other is not None and abs(np.log(value)) > abs(np.log(other))
    if low <= band.high and high >= band.low:
        says = f"{told}: outside {target}, but its interval reaches into it"
        if band.uncertain == "hold" and farther:
            return Rule(name, "hold", f"{says}; the champion's {other:.3f} of the same rows is nearer to 1.", evidence)
        return Rule(name, "note", f"{says}.", evidence)
    if other is not None and not farther:
        return Rule(
            name, "hold", f"{told}: outside {target}, yet nearer to 1 than the champion's {other:.3f}.", evidence
        )
    return Rule(name, "reject", f"{told}: its whole interval is outside {target}.", evidence)


def beside_noise(rule: Rule, noise: Noise | None) -> Rule:
    """The rule with the seed noise of its figure, where it was measured; the verdict stays."""
    if noise is None or rule.name not in noise.figures or "insufficient" in rule.evidence:
        return rule
    of_seed = noise.figures[rule.name]
    between = TWO_MODELS * of_seed
    told = f"Seed noise {of_seed:.4f}."
    if "change" in rule.evidence and abs(rule.evidence["change"]) <= between:
        told = f"The change is within seed noise ({of_seed:.4f}): two seeds of one model may differ by {between:.4f}."
    return replace(rule, sentence=f"{rule.sentence} {told}", evidence={**rule.evidence, "seed_noise": of_seed})


def auc_is_sane(auc: float, bounds: tuple[float, float], rule: Sanity) -> list[Rule]:
    """Better than chance, and not too good to be true."""
    low, high = bounds
    evidence = _rounded({"value": auc, "low": low, "high": high})
    told = f"Overall AUC is {auc:.4f} ({low:.4f} to {high:.4f})"
    floor, ceiling = rule.auc_lower_bound_above, rule.auc_below
    return [
        Rule("auc above chance", "pass", f"{told}: above {floor:g}.", evidence)
        if low > floor
        else Rule("auc above chance", "reject", f"{told}: not proven to be above {floor:g}.", evidence),
        Rule("auc plausible", "pass", f"{told}: below {ceiling:g}.", evidence)
        if auc < ceiling
        else Rule(
            "auc plausible",
            "reject",
            f"{told}, {ceiling:g} or more: suspect a leak. Look at the leakage audit of the training table.",
            evidence,
        ),
    ]


def _quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in values.items()}
