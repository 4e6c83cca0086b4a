"""The gate's rules: each looks at one piece of evidence and gives a verdict and a sentence.

`include/policies/gate.yaml` explains how they decide, and why.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from statistics import NormalDist

import numpy as np

from include.metrics_records import Estimate
from include.records import Comparison, EvaluatedVersion, Rule, RuleVerdict
from training.gate.policy import Calibration, Risks, Sanity

FAMILIES = 5
"""Families of comparisons among which the night's risks are divided: overall, scenes, cold rows, calibration, anchor."""
TILTS = (0.5, 1.0, 2.0, 4.0)
"""Sizes of a loss, in standard errors beyond the one that matters, that the evidence against the anchor is sensitive to."""
MOST_EVIDENCE = log(1e6)
"""Upper limit of the log e-value, so that one bad night does not outweigh all later ones."""
MIN_NIGHTS = 5
"""Earlier nights with a PCOC that are needed to estimate its usual distance from 1; before, it is `FIRST_NIGHTS`."""
FIRST_NIGHTS = log(1.5)
_LOOK = "Next: check *Data quality* of the days before and the learning curve in the report."
_DECIDE = "A person decides. Next: see in the report where it is worse."


@dataclass(frozen=True)
class Levels:
    """One comparison's share of the night's risks."""

    hold: float
    reject: float
    promote: float

    @classmethod
    def of(cls, risks: Risks, comparisons: int) -> "Levels":
        """Return the share of one of the comparisons of a family."""
        parts = FAMILIES * max(comparisons, 1)
        return cls(risks.hold / parts, risks.reject / parts, risks.promote)

    def sees(self, se: float) -> float:
        """Return the smallest loss that a night detects: it is held, except for the risk to promote it."""
        return se * (_quantile(1 - self.hold) + _quantile(1 - self.promote))


def beside_champion(comparison: Comparison, levels: Levels) -> Rule:
    """Judge a change from the champion by tonight's rows alone."""
    if (
        comparison.change is None
        or comparison.se is None
        or comparison.other is None
        or comparison.low is None
        or comparison.high is None
    ):
        return Rule(
            comparison.name,
            "note",
            f"{comparison.what} cannot be compared: {comparison.lacks}.",
            {"insufficient": comparison.lacks},
        )
    digits = ".2%" if comparison.name == "log loss" else ".4f"
    sees = levels.sees(comparison.se)
    upper, surely = (comparison.change + _quantile(1 - risk) * comparison.se for risk in (levels.hold, levels.reject))
    ruled_out = comparison.change - _quantile(1 - levels.promote) * comparison.se >= -comparison.matters
    figures = (
        f"{comparison.what} is {comparison.candidate:.4f}, the champion's {comparison.other:.4f} on the same rows: "
        f"{comparison.change:+{digits}} ({comparison.low:+{digits}} to {comparison.high:+{digits}})."
    )
    verdict: RuleVerdict
    if comparison.low > 0:
        verdict = "pass"
        says = "It is better."
    elif ruled_out:
        verdict = "pass"
        says = f"A loss of {comparison.matters:{digits}} or more, which would matter, is ruled out."
    elif surely < 0 and comparison.change < -comparison.matters:
        verdict = "reject"
        says = f"It is worse beyond doubt, by more than the loss that matters ({comparison.matters:{digits}}). {_LOOK}"
    elif upper < 0:
        verdict = "hold"
        says = (
            f"It is probably worse, though not beyond doubt: a loss of {comparison.matters:{digits}} is not ruled out. "
            + _DECIDE
        )
    else:
        verdict = "note"
        says = f"The night's rows cannot tell whether it is worse: they show losses of {sees:{digits}} or more only."
    evidence = _rounded({"change": comparison.change, "se": comparison.se, "sees": sees, "matters": comparison.matters})
    return Rule(comparison.name, verdict, f"{figures} {says}", evidence)


@dataclass(frozen=True)
class Sum:
    """Evidence that the nights' candidates lose something since the anchor: a log e-value for each of `TILTS`."""

    values: tuple[float, ...] = (0.0,) * len(TILTS)
    nights: int = 0

    def with_night(self, loss: float, se: float) -> "Sum":
        """Return the evidence with another night's loss beyond the one that matters.

        It stays between 0 and `MOST_EVIDENCE`, so that neither years of good nights nor one very bad night outweigh the
        nights after it.

        exp(tilt z - tilt² / 2) is an e-value for a z that is normal with a mean of 0 or less.
        """
        z = loss / se
        values = (
            min(max(0.0, before) + tilt * z - tilt**2 / 2, MOST_EVIDENCE)
            for before, tilt in zip(self.values, TILTS, strict=True)
        )
        return Sum(tuple(round(value, 4) for value in values), self.nights + 1)

    @property
    def evidence(self) -> float:
        """Log of the mean e-value."""
        from scipy.special import logsumexp  # here, as importing SciPy takes a second

        return float(logsumexp(self.values)) - log(len(TILTS))


def beside_anchor(comparison: Comparison, total: Sum, levels: Levels, anchor: EvaluatedVersion, better: bool) -> Rule:
    """Judge a change from the anchor by all nights since.

    `better` says that the candidate beats the champion on tonight's rows, so that promoting it reduces a loss.
    """
    name = f"{comparison.name} since the anchor"
    anchor_title = f"version {anchor.version} of {anchor.log_day}, the anchor"
    if comparison.change is None or comparison.se is None or comparison.low is None or comparison.high is None:
        return Rule(
            name,
            "note",
            f"{comparison.what} cannot be compared with {anchor_title}: {comparison.lacks}.",
            {"insufficient": comparison.lacks},
        )
    figures = (
        f"{comparison.what} changed by {comparison.change:+.4f} ({comparison.low:+.4f} to {comparison.high:+.4f}) "
        f"since {anchor_title}."
    )
    is_proven = comparison.change < -comparison.matters and total.evidence >= -log(levels.hold)
    verdict: RuleVerdict
    if is_proven and better:
        verdict = "note"
        says = (
            f"A loss of more than {comparison.matters:g} is proven, but the candidate is better than the champion, which has "
            "the same loss."
        )
    elif is_proven:
        verdict = "reject" if total.evidence >= -log(levels.reject) else "hold"
        says = (
            f"Over {_nights(total.nights)} this is a loss of more than {comparison.matters:g}: chance alone would show it once "
            f"in {exp(total.evidence):,.0f} nights. Next: find the night on which it began; "
            f"`ctr rollback --to {anchor.version}` returns to the anchor."
        )
    elif comparison.change - _quantile(1 - levels.promote) * comparison.se >= -comparison.matters:
        verdict = "pass"
        says = f"A loss of {comparison.matters:g} or more is ruled out."
    else:
        verdict = "note"
        says = f"After {_nights(total.nights)} it is still open whether the loss exceeds {comparison.matters:g}."
    evidence = _rounded(
        {"change": comparison.change, "se": comparison.se, "evidence": total.evidence, "nights": total.nights}
    )
    return Rule(name, verdict, f"{figures} {says}", {**evidence, "loss_shown": is_proven})


@dataclass(frozen=True)
class Pcoc:
    """Predicted clicks over clicks in a group, `all` or a scene.

    `value` with its 95 % interval is the candidate's, `champion` the champion's of the same rows (None without one),
    `earlier` the logarithms of the champions' PCOC of the nights before.
    """

    group: str
    name: str
    title: str
    value: float
    low: float
    high: float
    champion: float | None
    earlier: Sequence[float]


def calibrated(pcoc: Pcoc, levels: Levels, rule: Calibration) -> Rule:
    """Judge the calibration beside the champion's, as a change of the day's base rate moves both."""
    se = max((log(pcoc.high) - log(pcoc.low)) / (2 * _quantile(0.975)), 1e-9)
    surely = abs(log(pcoc.value)) - _quantile(1 - levels.hold) * se
    usual = FIRST_NIGHTS
    if len(pcoc.earlier) >= MIN_NIGHTS:
        from scipy.stats import t

        usual = float(t.ppf(1 - levels.hold, len(pcoc.earlier)) * np.sqrt(np.mean(np.square(pcoc.earlier))))
    figures = f"{pcoc.title} is {pcoc.value:.3f} ({pcoc.low:.3f} to {pcoc.high:.3f})"
    figures += f", the champion's {pcoc.champion:.3f} on the same rows." if pcoc.champion else "."
    other = abs(log(pcoc.champion)) if pcoc.champion else None
    nearer = other is not None and abs(log(pcoc.value)) < other
    insane = pcoc.high < rule.low or pcoc.low > rule.high
    verdict: RuleVerdict
    if insane and not nearer:
        verdict = "reject"
        says = f"It is outside {rule.low:g} to {rule.high:g}, which no jump of the base rate explains. {_LOOK}"
    elif insane:
        verdict = "note"
        says = f"It is outside {rule.low:g} to {rule.high:g}, but nearer to 1 than the champion's."
    elif other is not None and surely > max(other + log(rule.farther), usual):
        verdict = "hold"
        says = (
            f"It is farther from 1 than the champion's by more than a factor of {rule.farther:g}, and outside the usual range "
            f"of {exp(-usual):.2f} to {exp(usual):.2f}. {_DECIDE}"
        )
    else:
        verdict = "pass"
        says = f"The usual range is {exp(-usual):.2f} to {exp(usual):.2f}."
    evidence = _rounded({"value": pcoc.value, "low": pcoc.low, "high": pcoc.high, "usual": usual})
    return Rule(pcoc.name, verdict, f"{figures} {says}", {**evidence, "champion": pcoc.champion})


def auc_is_sane(auc: Estimate, rule: Sanity) -> list[Rule]:
    """Judge whether the AUC is above chance and below what only a leak can reach."""
    if auc.interval is None:
        sentence = f"The day has too few clicks or non-clicks for an AUC ({auc.note}). A person decides."
        return [Rule("auc above chance", "hold", sentence, {})]
    value, low, high = auc.interval
    evidence = _rounded(auc.interval._asdict())
    figures = f"Overall AUC is {value:.4f} ({low:.4f} to {high:.4f})"
    floor = rule.auc_lower_bound_above
    ceiling = rule.auc_below
    return [
        Rule("auc above chance", "pass", f"{figures}: above {floor:g}.", evidence)
        if low > floor
        else Rule("auc above chance", "reject", f"{figures}: not proven to be above {floor:g}. {_LOOK}", evidence),
        Rule("auc plausible", "pass", f"{figures}: below {ceiling:g}.", evidence)
        if value < ceiling
        else Rule(
            "auc plausible",
            "reject",
            f"{figures}, {ceiling:g} or more: suspect a leak. Next: check the leakage audit of the training table.",
            evidence,
        ),
    ]


def _nights(count: int) -> str:
    return "1 night" if count == 1 else f"{count} nights"


def _quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(float(value), 6) for name, value in values.items()}
