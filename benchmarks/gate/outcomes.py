"""What became of the candidates of `benchmarks.gate.days`, how good they truly are, and the tables that it prints."""

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
    """A fault of `FAULTS`, in the rows of the last night or, for a candidate that starts from nothing, of all days."""

    fault: str
    extent: Literal["night", "retrain"]


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate.

    Pairs are of candidate and champion. `true_auc` is by scene; `change` of AUC and the loss that the night `sees` are
    what the gate measured.
    """

    night: int
    day: str
    kind: Kind
    plan: Plan | None
    version: int
    base: int | None
    champion: int
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
        """All of it, for JSON."""
        changes = {name: getattr(self, name) for name in ("auc_change", "worst_scene", "loss_change")}
        return asdict(self) | changes

    def damage(self, undamaged: "Outcome") -> float:
        """Mean true AUC that the fault alone took: this candidate - its undamaged twin."""
        return float(np.mean([self.true_auc[scene][0] - undamaged.true_auc[scene][0] for scene in self.true_auc]))


def expected_auc(truth: Floats, predicted: Floats) -> float:
    """AUC of rows of which each is a click with its true probability, and none with the rest of it."""
    label, weight = np.repeat([1, 0], len(truth)), np.concatenate([truth, 1 - truth])
    return float(roc_auc_score(label, np.tile(predicted, 2), sample_weight=weight))


def expected_log_loss(truth: Floats, predicted: Floats) -> float:
    """Mean log loss over the clicks that rows of such a true probability may have; lowest where the prediction is the truth."""
    clicked, not_clicked = (row_log_loss(np.full(len(truth), label), predicted) for label in (1, 0))
    return float((truth * clicked + (1 - truth) * not_clicked).mean())


def counts(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """Verdicts by kind of candidate; a good one and an undamaged one are both good."""
    found: dict[str, Counter[str]] = {"bad": Counter(), "good": Counter()}
    for each in outcomes:
        found["bad" if each.kind == "bad" else "good"][each.verdict] += 1
    return {kind: {verdict: told[verdict] for verdict in ("promote", "hold", "reject")} for kind, told in found.items()}


def harmful(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The bad candidates that passed though they were truly worse than the champion."""
    return [each for each in outcomes if _slipped(each) and each.loss_change > 0]


def failed(outcomes: Sequence[Outcome]) -> bool:
    """Whether a bad candidate that was truly worse was promoted, or a good one rejected."""
    return bool(harmful(outcomes) or counts(outcomes)["good"]["reject"])


def show(result: Result, outcomes: Sequence[Outcome]) -> None:
    """Prints a line for each candidate, and the sums."""
    out, options = console(150), result["options"]
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
    twins = {each.night: each for each in outcomes if each.kind == "undamaged"}
    for each in outcomes:
        bad = each.kind == "bad"
        table.add_row(
            str(each.night),
            _name(each),
            *(f"{auc:.4f}" for auc in each.auc),
            *(f"{change:+.4f}" for change in (each.change, each.auc_change)),
            f"{each.damage(twins[each.night]):+.4f}" if bad else "",
            f"{each.true_pcoc[0]:.2f}",
            f"{each.loss_change:+.4f}",
            each.verdict,
            shorten(each.reasons[0], 44, placeholder=" …"),
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
    """The sums, in some lines."""
    found = counts(outcomes)
    bad, good = found["bad"], found["good"]
    lines = [
        f"Of {sum(bad.values())} bad candidates {bad['promote']} promoted, {bad['hold']} held, {bad['reject']} rejected.",
        f"Of {sum(good.values())} good candidates {good['promote']} passed, {good['hold']} held, {good['reject']} rejected.",
    ]
    for each in filter(_slipped, outcomes):
        how = "WORSE than" if each.loss_change > 0 else "no worse than"
        lines.append(
            f"Bad, but promoted: night {each.night}, truly {how} the champion (log loss {each.loss_change:+.5f}, "
            f"AUC {each.auc_change:+.5f})."
        )
    return "\n".join(lines)


def _slipped(outcome: Outcome) -> bool:
    return outcome.kind == "bad" and outcome.verdict == "promote"


def _name(outcome: Outcome) -> str:
    if outcome.plan is None:
        return "from nothing" if outcome.base is None else ""
    what = outcome.plan.fault.replace("_", " ") if outcome.kind == "bad" else "undamaged"
    return f"{what}, {outcome.plan.extent}"
