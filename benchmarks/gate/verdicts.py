"""A simulated night and the gate's decision on it, for `benchmarks.gate.curves` and its chains."""

from datetime import date
from math import sqrt
from typing import Any

from benchmarks.gate.worlds import Model, World, night
from include.metrics_records import DayMetrics
from include.records import EvaluatedVersion
from include.setting_groups import PROJECT
from training.evaluate.day_metrics import evaluate
from training.gate.gate import Past, judge, verdict_of
from training.gate.policy import load_policy

POLICY = load_policy(PROJECT / "include/policies/gate.yaml")
RESAMPLES = 100
Result = dict[str, Any]


def judged(
    world: World, seed: int, candidate: Model, champion: Model, other: Model | None, past: Past
) -> tuple[DayMetrics, Result]:
    """Return the metrics of a night, and the gate's decision: verdict, blocking rules, and what later nights need."""
    rows = night(world, seed)
    metrics = evaluate(rows.scored(candidate, champion, other), world.names, RESAMPLES, (seed,), cells=False)
    anchor = None
    if other and past.anchor is not None:
        before = date.min
        anchor = EvaluatedVersion(
            version=past.anchor, log_day=before, trained_from=before, trained_through=before, content_hash=""
        )
    judgement = judge(metrics, anchor, POLICY, past)
    return metrics, {
        "verdict": verdict_of(judgement.rules),
        "blocking": [rule.name for rule in judgement.rules if rule.verdict in ("hold", "reject")],
        "loss_shown": judgement.loss_is_proven,
        "sums": judgement.sums,
        "pcoc": judgement.pcoc,
    }


def share(hits: int, of: int) -> Result:
    """Return a share with its simulation error (one standard error; for none or all hits, that of one hit or miss)."""
    inside = min(max(hits, 1), of - 1) / of
    return {"share": hits / of, "error": sqrt(inside * (1 - inside) / of), "of": of}
