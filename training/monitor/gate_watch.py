"""Audit of the gate: the outcomes of the last nights, and whether candidates that it kept back were worse on the day after."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from include.lake.lake import Lake
from include.records import Decision, Evaluation

NIGHTS = 30
LEAST_NIGHTS = 10
"""Nights that are needed before a share of them is worth a warning."""
MOST_HELD = 0.1
"""Share of the nights that may be held, or rejected, without proof on the day after that the candidate was worse."""


def watch(lake: Lake, day: date) -> dict[str, Any]:
    """Return outcomes, blocking rules and their cost, of the `NIGHTS` before the day that were allowed to promote.

    `unproven` counts candidates that were kept back though they were not proven to be worse than the champion on the
    day after; `cost` is the log loss (nats per row, summed over nights) by which some of them were better.
    """
    decisions = {night: lake.record(Decision, night) for night in lake.record_days(Decision) if night < day}
    decided = [
        (night, decision)
        for night, decision in decisions.items()
        if decision and decision.may_promote and decision.champion
    ]
    outcomes: Counter[str] = Counter()
    blocking: Counter[str] = Counter()
    unproven = 0
    cost = 0.0
    for night, decision in decided[-NIGHTS:]:
        outcomes["promoted" if decision.promoted else decision.verdict] += 1
        if decision.promoted:
            continue
        blocking.update(rule.name for rule in decision.rules if rule.verdict in ("hold", "reject"))
        change = _day_after(lake, night, decision.candidate)
        if change and change["value"] is not None and change["low"] <= 0:
            unproven = unproven + 1
            cost = cost + max(0.0, -change["value"])
    return {
        "nights": sum(outcomes.values()),
        "outcomes": dict(outcomes),
        "blocking": dict(blocking.most_common(5)),
        "unproven": unproven,
        "cost": round(cost, 6),
    }


def _day_after(lake: Lake, night: date, version: int) -> dict[str, Any] | None:
    """Return the change of log loss from the champion, of a candidate that was not promoted, on the day after its night."""
    after = next((evaluated for evaluated in lake.record_days(Evaluation) if evaluated > night), None)
    evaluation = lake.record(Evaluation, after) if after else None
    later = evaluation.not_promoted if evaluation else None
    return later.change if later and later.version == version else None


def warnings(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence where too many candidates were kept back that were not worse."""
    nights = summary["nights"]
    unproven = summary["unproven"]
    if nights >= LEAST_NIGHTS and unproven > MOST_HELD * nights:
        blocked = ", ".join(f"{name} ({count})" for name, count in summary["blocking"].items())
        yield (
            f"The gate kept back {unproven} of {nights} candidates that were not proven to be worse on the day after. This cost "
            f"{summary['cost']:.4f} of log loss in all. Rules that blocked: {blocked}. Next: if the losses that these rules "
            "block do not matter, raise the limits in the policy (CTR_GATE_POLICY); otherwise check these nights' training data."
        )
