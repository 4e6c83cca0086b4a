"""The promotion gate on twenty nights in a row with trained models, some of which learnt from damaged rows.

    python -m benchmarks.gate_days [--seed 18] [--rows 5000] [--model ple] [--policy include/policies/gate-small.yaml]

A world of `ctr sample` goes through Spark once. Then every night is as in production: the candidate continues the champion with
the days since, is evaluated on the day, judged, and promoted if the gate says so; what it holds nobody approves. On six nights
the candidate learns from damaged rows (`benchmarks.gate_faults`), which are restored before it is evaluated:

- *night*: those of the last night only, as when one job went wrong. A model that continues forgets little in one day, so such
  a candidate can be nearly as good as the champion.
- *retrain*: those of all days, by a candidate that starts from nothing, as after a backfill by wrong code. The incident proper.

On these nights the same candidate is trained and judged on undamaged rows too, without being promoted: it is a good one, and
tells what the damage alone did. How good a model *truly* is, is told by the true click probabilities of the world, in which
the chance of the day's clicks has no part: the AUC of a scene in which every impression is clicked with its own probability.

Prints tables, writes JSON; ends with status 1 if a bad candidate was promoted or a good one rejected. With `--home`, generated
data is used again.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from rich.table import Table
from sklearn.metrics import roc_auc_score

from benchmarks.gate_faults import FAULTS, planted
from benchmarks.machine import console, machine, result_file
from benchmarks.quality_homes import Home, Tell, generated
from include import registry
from include.decision import apply_decision, next_step, record_refusal, why_kept
from include.errors import MissingDataError
from include.lake import lake
from include.settings import PROJECT, settings
from training import evaluation, gate, oracle, predictions, train
from training.metrics import Floats, Integers
from training.models.ladder import RUNGS, rung_named
from training.start import days_to_learn

Result = dict[str, Any]
Kind = Literal["good", "bad", "undamaged"]
HISTORY = 8
"""Days before the first judged night: the first champion learns seven of them, a whole week, as one of fewer is not continued."""
DAYS = 20


@dataclass(frozen=True)
class Plan:
    """A fault of `FAULTS`, in the rows of the last night or, for a candidate that starts from nothing, of all days."""

    fault: str
    extent: Literal["night", "retrain"]


PLANTED = {
    3: Plan("labels_flipped", "night"),
    6: Plan("ctr_zeroed", "night"),
    9: Plan("snapshot_stale", "night"),
    12: Plan("labels_flipped", "retrain"),
    15: Plan("ctr_zeroed", "retrain"),
    18: Plan("snapshot_stale", "retrain"),
}
"""By number of the night, from 1."""


@dataclass(frozen=True)
class Outcome:
    """What became of a candidate.

    `true` holds the true AUC of candidate and champion by scene, `gauc_change` and `gauc_se` what the gate measured.
    """

    night: int
    day: str
    kind: Kind
    plan: Plan | None
    version: int
    base: int | None
    champion: int
    days_learnt: int
    verdict: str
    blocking: list[str]
    reasons: list[str]
    promoted: bool
    auc: tuple[float, float]
    gauc_change: float
    gauc_se: float
    passes_if_equal: float
    true: dict[str, tuple[float, float]]

    @property
    def true_change(self) -> float:
        """Candidate - champion of the true AUC, mean over the scenes."""
        return float(np.mean([candidate - champion for candidate, champion in self.true.values()]))

    @property
    def worst_scene(self) -> float:
        """Candidate - champion of the true AUC, in the scene where it is lowest."""
        return min(candidate - champion for candidate, champion in self.true.values())

    def record(self) -> Result:
        """All of it, for JSON."""
        return asdict(self) | {"true_change": self.true_change, "worst_scene": self.worst_scene}

    def damage(self, undamaged: "Outcome") -> float:
        """Mean true AUC that the fault alone took: this candidate - its undamaged twin."""
        return float(np.mean([self.true[scene][0] - undamaged.true[scene][0] for scene in self.true]))


def nights(days: Sequence[date], tell: Tell) -> Iterator[Outcome]:
    """What becomes of the candidates of these days, one after another, after a first champion of the day before them."""
    for night, day in enumerate(days, 1):
        plan = PLANTED.get(night)
        if plan:
            tell(f"night {night}, {day}: undamaged")
            yield judged(night, day, plan, "undamaged")
        tell(f"night {night}, {day}: {plan.fault + ', ' + plan.extent if plan else 'good'}")
        outcome = judged(night, day, plan, "bad" if plan else "good")
        yield replace(outcome, promoted=_follow(day))


def judged(night: int, day: date, plan: Plan | None, kind: Kind) -> Outcome:
    """Trains, evaluates and judges a candidate of the day."""
    chosen, store = settings(), lake()
    damage: AbstractContextManager[None] = nullcontext()
    if kind == "bad" and plan:
        known = days_to_learn(store, day, chosen)
        damage = planted(store, known if plan.extent == "retrain" else known[-1:], FAULTS[plan.fault])
    with damage:
        trained = train.run(day, chosen, scratch=plan is not None and plan.extent == "retrain")
    evaluated = evaluation.run(day, chosen)
    decision = gate.run(day, kind != "undamaged", chosen)
    change = next(rule["evidence"] for rule in decision["rules"] if rule["name"] == gate.HEADLINE)
    return Outcome(
        night=night,
        day=str(day),
        kind=kind,
        plan=plan,
        version=trained["version"],
        base=trained["base_version"],
        champion=decision["champion"],
        days_learnt=trained["days"],
        verdict=decision["verdict"],
        blocking=[rule["name"] for rule in decision["rules"] if rule["verdict"] in ("hold", "reject")],
        reasons=decision["reasons"],
        promoted=False,
        auc=(
            evaluated["headline"]["candidate"]["auc"]["value"],
            evaluated["headline"]["champion"]["auc"]["value"],
        ),
        gauc_change=change["change"],
        gauc_se=change["se"],
        passes_if_equal=decision["power"]["passes_if_equal"],
        true=_true_aucs(day),
    )


def _follow(day: date) -> bool:
    """Does what the DAG does after the gate, where nobody answers; returns whether the candidate was promoted."""
    if next_step(day) == "promote":
        apply_decision(day, by="gate")
        return True
    record_refusal(day, by="timeout", reason=why_kept(day))
    return False


def _true_aucs(day: date) -> dict[str, tuple[float, float]]:
    rows, known = predictions.read(lake(), day), oracle.truth(day, settings())
    if known is None or rows.champion is None:
        raise MissingDataError(f"{day} has no true probabilities or no champion: expected a generated day with both.")
    truth = known["probability"].take(pc.index_in(rows.event_id, known["event_id"].combine_chunks())).to_numpy()
    scenes = {str(scene): np.flatnonzero(rows.scene == scene) for scene in np.unique(rows.scene)}
    return {
        scene: (true_auc(truth, rows.candidate, members), true_auc(truth, rows.champion, members))
        for scene, members in scenes.items()
    }


def true_auc(truth: Floats, predicted: Floats, members: Integers) -> float:
    """AUC of some rows where each is a click with its true probability, and none with the rest of it."""
    p, score = truth[members], predicted[members]
    label = np.repeat([1, 0], len(p))
    return float(roc_auc_score(label, np.tile(score, 2), sample_weight=np.concatenate([p, 1 - p])))


def counts(outcomes: Sequence[Outcome]) -> dict[str, dict[str, int]]:
    """Verdicts by kind of candidate; a good one and an undamaged one are both good."""
    found: dict[str, Counter[str]] = {"bad": Counter(), "good": Counter()}
    for each in outcomes:
        found["bad" if each.kind == "bad" else "good"][each.verdict] += 1
    return {kind: {verdict: told[verdict] for verdict in ("promote", "hold", "reject")} for kind, told in found.items()}


def failed(outcomes: Sequence[Outcome]) -> bool:
    """Whether a bad candidate was promoted or a good one rejected."""
    found = counts(outcomes)
    return bool(found["bad"]["promote"] or found["good"]["reject"])


def show(result: Result, outcomes: Sequence[Outcome]) -> None:
    """Prints a line for each candidate, and the sums."""
    out, options = console(150), result["options"]
    out.print(
        f"seed {options['seed']}, {options['rows']:,} rows a day, {options['model']}, policy '{result['policy']}', "
        f"code {result['machine']['code']}"
    )
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("night")
    table.add_column("candidate", no_wrap=True)
    for name in ("AUC", "champion's", "GAUC", "true AUC", "worst scene", "by damage"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    table.add_column("first reason", no_wrap=True, overflow="ellipsis")
    twins = {each.night: each for each in outcomes if each.kind == "undamaged"}
    for each in outcomes:
        bad = each.kind == "bad"
        table.add_row(
            str(each.night),
            _name(each),
            *(f"{auc:.4f}" for auc in each.auc),
            *(f"{change:+.4f}" for change in (each.gauc_change, each.true_change, each.worst_scene)),
            f"{each.damage(twins[each.night]):+.4f}" if bad else "",
            each.verdict,
            each.reasons[0],
            style="bold" if bad else None,
        )
    out.print(table)
    out.print(
        "GAUC: scene mean change as the gate measured it. true AUC: scene mean change by the true click probabilities, and its "
        "worst scene;\nby damage: the same against the undamaged candidate of that night."
    )
    out.print(verdicts(outcomes))


def verdicts(outcomes: Sequence[Outcome]) -> str:
    """The sums, in two lines."""
    found = counts(outcomes)
    bad, good = found["bad"], found["good"]
    slipped = [f"night {each.night} ({each.true_change:+.4f})" for each in outcomes if _slipped(each)]
    told = f", truly {', '.join(slipped)}" if slipped else ""
    return (
        f"Of {sum(bad.values())} bad candidates {bad['promote']} promoted{told}, {bad['hold']} held, {bad['reject']} rejected.\n"
        f"Of {sum(good.values())} good candidates {good['promote']} would pass, {good['hold']} held, {good['reject']} rejected."
    )


def _slipped(outcome: Outcome) -> bool:
    return outcome.kind == "bad" and outcome.verdict == "promote"


def _name(outcome: Outcome) -> str:
    if outcome.plan is None:
        return "from nothing" if outcome.base is None else ""
    what = outcome.plan.fault.replace("_", " ") if outcome.kind == "bad" else "undamaged"
    return f"{what}, {outcome.plan.extent}"


@contextmanager
def copy_of(home: Home, seed: int, model: str, policy: Path) -> Iterator[None]:
    """Inside, the settings are of a copy of the home with an empty registry: the faults are planted there."""
    with tempfile.TemporaryDirectory(prefix="ctr-gate-") as folder:
        for name in ("lake", "oracle"):
            shutil.copytree(home.folder / name, Path(folder) / name)
        of_run = {"CTR_HOME": folder, "CTR_MODEL": model, "CTR_GATE_POLICY": str(policy.resolve())}
        before = dict(os.environ)
        os.environ |= home.environment(seed) | of_run
        settings.cache_clear()
        try:
            yield
        finally:
            os.environ.clear()
            os.environ |= before
            settings.cache_clear()


def first_champion(day: date) -> None:
    """Trains the candidate of the day from nothing and promotes it without a gate: there is nothing to compare it with."""
    version = train.run(day, settings())["version"]
    registry.promote(version, reason="the first champion", by="benchmark")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the nights, prints tables, writes JSON; exits with status 1 where the gate failed."""
    given = _arguments(argv)
    out = result_file("gate-days", given.out)
    tell: Tell = lambda text: print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)  # noqa: E731
    llm, outcomes = rung_named(given.model).llm, list[Outcome]()
    with tempfile.TemporaryDirectory(prefix="ctr-gate-data-") as temporary:
        root = given.home or Path(temporary)
        home = generated(root, given.seed, given.rows, HISTORY, given.days, given.llm_texts, llm=llm, tell=tell)
        with copy_of(home, given.seed, given.model, given.policy):
            result: Result = {
                "machine": machine(),
                "options": {
                    name: str(value) if isinstance(value, Path) else value for name, value in vars(given).items()
                },
                "policy": gate.load_policy(settings().gate_policy).name,
            }
            first_champion(home.days[HISTORY - 1])
            for outcome in nights(home.evaluated, tell):
                outcomes.append(outcome)
                result["candidates"] = [each.record() for each in outcomes]
                out.write_text(json.dumps(result, indent=1))
    result["verdicts"] = counts(outcomes)
    out.write_text(json.dumps(result, indent=1))
    show(result, outcomes)
    print(out)
    if failed(outcomes):
        sys.exit(1)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="The promotion gate on nights in a row, some with damaged training rows."
    )
    parser.add_argument("--seed", type=int, default=18, help="of the world and of its models")
    parser.add_argument("--rows", type=int, default=5000, help="rows a day")
    parser.add_argument("--days", type=int, default=DAYS, help="nights that are judged")
    parser.add_argument("--model", choices=RUNGS, default="ple")
    parser.add_argument("--llm-texts", type=int, default=300, help="texts a day for the language model, 8 a second")
    parser.add_argument("--policy", type=Path, default=PROJECT / "include/policies/gate-small.yaml")
    parser.add_argument("--home", type=Path, help="folder for generated data; default a temporary one")
    parser.add_argument("--out", type=Path, help="JSON file; default .ctr/bench/gate-days-….json")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
