"""A made night and what the gate makes of it, for `benchmarks.gate.curves` and its chains."""

from math import sqrt
from typing import Any

from benchmarks.gate.worlds import Model, World, night
from include.settings import PROJECT
from training.evaluate.day_metrics import evaluate
from training.gate.gate import Past, judge, verdict_of
from training.gate.policy import load_policy

POLICY = load_policy(PROJECT / "include/policies/gate.yaml")
RESAMPLES = 100
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
        "loss_shown": found.loss_is_proven,
        "sums": found.sums,
        "pcoc": found.pcoc,
    }


def share(hits: int, of: int) -> Result:
    """A share with its simulation error (one standard error; of none and of all, that of one more)."""
    inside = min(max(hits, 1), of - 1) / of
    return {"share": hits / of, "error": sqrt(inside * (1 - inside) / of), "of": of}
