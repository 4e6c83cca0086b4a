"""The outcomes of the candidates of `benchmarks.gate.days`, their true quality, and the printed tables."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from textwrap import shorten
from typing import Any, Literal

import numpy as np
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks.machine import console
from training.evaluate.metrics import Floats, row_log_loss

Result = dict[str, Any]
Kind = Literal["good", "bad", "undamaged"]


@dataclass(frozen=True)
class Plan:
    """A fault of `FAULTS`, in the rows of the last night or, for a candidate that starts from scratch, of all days."""

    fault: str
    extent: Literal["night", "retrain"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a candidate.

    Pairs are of candidate and champion. `true_auc` is by scene; the gate measured the `change` of AUC and `sees`, the smallest
    loss that the night can prove.
    """

    night: int
    day: str
    kind: Kind
    plan: Plan | None
    version: int
    base: int | None
    champion: int | None
    trained_days: int
    verdict: str
    blocking: list[str]
    reasons: list[str]
    notes: list[str]
    promoted: bool
    auc: tuple[float, float]
    change: float
    sees: float
    true_auc: dict[str, tuple[float, float]]
    true_log_loss: tuple[float, float]
    true_pcoc: tuple[float, float]

    @property
    def auc_change(self) -> float:
        """Candidate - champion of the true AUC, mean over the scenes."""
        return float(np.mean([candidate - champion for candidate, champion in self.true_auc.values()]))

    @property
    def worst_scene(self) -> float:
        """Candidate - champion of the true AUC, in the scene where it is lowest."""
        return min(candidate - champion for candidate, champion in self.true_auc.values())

    @property
    def loss_change(self) -> float:
        """Candidate - champion of the true log loss: above 0, the candidate is truly worse."""
        return self.true_log_loss[0] - self.true_log_loss[1]

    def record(self) -> Result:
        """Return all fields and figures, for JSON."""
        changes = {name: getattr(self, name) for name in ("auc_change", "worst_scene", "loss_change")}
        return asdict(self) | changes

    def damage(self, undamaged: "Outcome") -> float:
        """Return the mean true AUC lost to the fault alone: this candidate - its undamaged twin."""
        return float(np.mean([self.true_auc[scene][0] - undamaged.true_auc[scene][0] for scene in self.true_auc]))


def expected_auc(truth: Floats, predicted: Floats) -> float:
    """Return the AUC of rows that are each a click with their true probability."""
    label = np.repeat([1, 0], len(truth))
    weight = np.concatenate([truth, 1 - truth])
    return float(roc_auc_score(label, np.tile(predicted, 2), sample_weight=weight))


def expected_log_loss(truth: Floats, predicted: Floats) -> float:
    """Return the expected log loss of rows with these true probabilities; lowest where the prediction is the truth."""
    clicked, not_clicked = (row_log_loss(np.full(len(truth), label), predicted) for label in (1, 0))
    return float((truth * clicked + (1 - truth) * not_clicked).mean())


def counts(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """Count verdicts by kind of candidate; an undamaged one counts as good."""
    by_kind: dict[str, Counter[str]] = {"bad": Counter(), "good": Counter()}
    for outcome in outcomes:
        by_kind["bad" if outcome.kind == "bad" else "good"][outcome.verdict] += 1
    return {
        kind: {verdict: count[verdict] for verdict in ("promote", "hold", "reject")} for kind, count in by_kind.items()
    }


def harmful(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the bad candidates that passed though they were truly worse than the champion."""
    return [outcome for outcome in outcomes if _wrongly_promoted(outcome) and outcome.loss_change > 0]


def failed(outcomes: Sequence[Outcome]) -> bool:
    """Return whether a bad candidate that was truly worse was promoted, or a good one rejected."""
    return bool(harmful(outcomes) or counts(outcomes)["good"]["reject"])


def show(result: Result, outcomes: Sequence[Outcome]) -> None:
    """Print a line for each candidate, and the sums."""
    out = console(150)
    options = result["options"]
    out.print(
        f"seed {options['seed']}, {options['rows']:,} rows a day, {options['model']}, policy '{result['policy']}', "
        f"code {result['machine']['code']}"
    )
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for name in ("night", "candidate"):
        table.add_column(name, no_wrap=True)
    for name in ("AUC", "champion", "change", "true AUC", "damage", "PCOC", "loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("verdict", "first reason"):
        table.add_column(name, no_wrap=True)
    twins = {outcome.night: outcome for outcome in outcomes if outcome.kind == "undamaged"}
    for outcome in outcomes:
        bad = outcome.kind == "bad"
        table.add_row(
            str(outcome.night),
            _name(outcome),
            *(f"{auc:.4f}" for auc in outcome.auc),
            *(f"{change:+.4f}" for change in (outcome.change, outcome.auc_change)),
            f"{outcome.damage(twins[outcome.night]):+.4f}" if bad else "",
            f"{outcome.true_pcoc[0]:.2f}",
            f"{outcome.loss_change:+.4f}",
            outcome.verdict,
            shorten(outcome.reasons[0], 44, placeholder=" …"),
            style="bold" if bad else None,
        )
    out.print(table)
    out.print(
        "GAUC: change of the scene mean, as the gate measured it. By the true click probabilities: change of the scene mean AUC, "
        "by damage\n(against the undamaged candidate of that night), the candidate's PCOC, and change of log loss (above 0 it is "
        "truly worse)."
    )
    out.print(verdicts(outcomes))


def verdicts(outcomes: Sequence[Outcome]) -> str:
    """Return the sums as text."""
    by_kind = counts(outcomes)
    bad = by_kind["bad"]
    good = by_kind["good"]
    lines = [
        f"Of {sum(bad.values())} bad candidates {bad['promote']} promoted, {bad['hold']} held, {bad['reject']} rejected.",
        f"Of {sum(good.values())} good candidates {good['promote']} passed, {good['hold']} held, {good['reject']} rejected.",
    ]
    for outcome in filter(_wrongly_promoted, outcomes):
        comparison = "WORSE than" if outcome.loss_change > 0 else "no worse than"
        lines.append(
            f"Bad, but promoted: night {outcome.night}, truly {comparison} the champion (log loss {outcome.loss_change:+.5f}, "
            f"AUC {outcome.auc_change:+.5f})."
        )
    return "\n".join(lines)


def _wrongly_promoted(outcome: Outcome) -> bool:
    return outcome.kind == "bad" and outcome.verdict == "promote"


def _name(outcome: Outcome) -> str:
    if outcome.plan is None:
        return "from scratch" if outcome.base is None else ""
    fault = outcome.plan.fault.replace("_", " ") if outcome.kind == "bad" else "undamaged"
    return f"{fault}, {outcome.plan.extent}"
