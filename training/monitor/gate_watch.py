"""Audit of the gate: the outcomes of the last nights, and whether candidates that it kept back were worse on the day after."""

from collections import Counter
from collections.abc import Iterator
from datetime import date

from include.lake.lake import Lake
from include.metrics_records import Estimate, GateOutcomes
from include.records import Decision, Evaluation

NIGHTS = 30
LEAST_NIGHTS = 10
"""Nights that are needed before a share of them is worth a warning."""
MOST_HELD = 0.1
"""Share of the nights that may be held, or rejected, without proof on the day after that the candidate was worse."""


def watch(lake: Lake, day: date) -> GateOutcomes:
    """Return the outcomes of the `NIGHTS` before the day that were allowed to promote."""
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
        interval = change.interval if change else None
        if interval and interval.low <= 0:
            unproven = unproven + 1
            cost = cost + max(0.0, -interval.value)
    return GateOutcomes(
        nights=sum(outcomes.values()),
        outcomes=dict(outcomes),
        blocking=dict(blocking.most_common(5)),
        unproven=unproven,
        cost=round(cost, 6),
    )


def _day_after(lake: Lake, night: date, version: int) -> Estimate | None:
    """Return the change of log loss from the champion, of a candidate that was not promoted, on the day after its night."""
    after = next((evaluated for evaluated in lake.record_days(Evaluation) if evaluated > night), None)
    evaluation = lake.record(Evaluation, after) if after else None
    later = evaluation.not_promoted if evaluation else None
    return later.change if later and later.version == version else None


def warnings(gate: GateOutcomes) -> Iterator[str]:
    """Yield a sentence where too many candidates were kept back that were not worse."""
    if gate.nights >= LEAST_NIGHTS and gate.unproven > MOST_HELD * gate.nights:
        blocked = ", ".join(f"{name} ({count})" for name, count in gate.blocking.items())
        yield (
            f"The gate kept back {gate.unproven} of {gate.nights} candidates that were not proven to be worse on the day after. "
            f"This cost {gate.cost:.4f} of log loss in all. Rules that blocked: {blocked}. Next: if the losses that these rules "
            "block do not matter, raise the limits in the policy (CTR_GATE_POLICY); otherwise check these nights' training data."
        )
