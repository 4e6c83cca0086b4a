"""How the gate itself does: what became of the last nights, and whether what it held or rejected was worse the day after."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from include.lake.lake import Lake

NIGHTS = 30
LEAST_NIGHTS = 10
"""Nights that must be known before a share of them is worth a warning."""
MOST_HELD = 0.1
"""Share of the nights that may be held, or rejected, without proof on the day after that the candidate was worse."""


def watch(store: Lake, day: date) -> dict[str, Any]:
    """Of the `NIGHTS` before the day that were allowed to promote: outcomes, rules that blocked, and what that cost.

    `unproven` counts candidates that were kept back though the day after did not show them to be worse than the champion, and
    `cost` is the log loss (nats a row, summed over nights) by which those that were better would have been.
    """
    decisions = {night: store.record("decision", night) or {} for night in store.record_days("decision") if night < day}
    decided = [
        (night, decision)
        for night, decision in decisions.items()
        if decision.get("may_promote") and decision.get("champion")
    ]
    outcomes: Counter[str] = Counter()
    blocking: Counter[str] = Counter()
    unproven = 0
    cost = 0.0
    for night, decision in decided[-NIGHTS:]:
        promoted = bool(decision.get("promoted"))
        outcomes["promoted" if promoted else decision["verdict"]] += 1
        if promoted:
            continue
        blocking.update(rule["name"] for rule in decision["rules"] if rule["verdict"] in ("hold", "reject"))
        change = _day_after(store, night, decision["candidate"])
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


def _day_after(store: Lake, night: date, version: int) -> dict[str, Any] | None:
    """The change of log loss from the champion, of a candidate that was not promoted, on the day after its night."""
    after = next((evaluated for evaluated in store.record_days("evaluation") if evaluated > night), None)
    later = ((store.record("evaluation", after) or {}).get("not_promoted") if after else None) or {}
    return later["change"] if later.get("version") == version else None


def warnings(summary: Mapping[str, Any]) -> Iterator[str]:
    """A sentence where more was kept back than evidence later bore out."""
    nights = summary["nights"]
    unproven = summary["unproven"]
    if nights >= LEAST_NIGHTS and unproven > MOST_HELD * nights:
        blocked = ", ".join(f"{name} ({count})" for name, count in summary["blocking"].items())
        yield (
            f"The gate kept back {unproven} of {nights} candidates that the day after did not show to be worse, which cost "
            f"{summary['cost']:.4f} of log loss in all. Rules that blocked: {blocked}. Is what they call a loss that matters one? "
            "If not, raise it in the policy (CTR_GATE_POLICY); if so, look at what the nights learn."
        )
