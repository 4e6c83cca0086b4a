"""The promotion gate on twenty consecutive nights with trained models, some of them trained on damaged rows.

    python -m benchmarks.gate.days [--seed 18] [--rows 5000] [--model ple] [--policy include/policies/gate.yaml]

Spark processes a world of `ctr sample` once. Then every night is as in production: the candidate continues the champion with
the days since, is evaluated on the day, judged, and promoted if the gate says so; a held candidate is not approved. On six nights
the candidate learns from damaged rows (`benchmarks.gate.faults`), which are restored before it is evaluated:

- *night*: those of the last night only, as when one job went wrong. A model that continues forgets little in one day, so such
  a candidate can be nearly as good as the champion.
- *retrain*: those of all days, by a candidate that starts from scratch, as after a backfill by wrong code. The incident proper.

On these nights the same candidate is also trained and judged on undamaged rows, without being promoted: it is a good one, and
shows the effect of the damage alone. The *true* quality of a model comes from the true click probabilities of the world,
without the chance of the day's clicks: AUC and log loss where every impression is clicked with its own probability.

A fault may do no harm. A bad candidate that is truly no worse than the champion, by log loss (ranking and calibration),
may be promoted; the tables say so. Ends with status 1 if one that is truly worse, by however little, was promoted,
or a good one rejected. Prints tables, writes JSON. With `--home`, generated data is used again.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.compute as pc
import typer

from benchmarks.gate.faults import FAULTS, planted
from benchmarks.gate.outcomes import Kind, Outcome, Plan, Result, counts, expected_auc, expected_log_loss, failed, show
from benchmarks.machine import machine, result_file
from benchmarks.options import Out, one_of, run_benchmark
from benchmarks.quality.homes import Home, Tell, generated
from include.errors import MissingDataError
from include.lake.lake import get_lake
from include.orchestration.decision import apply_decision, next_step, record_refusal, why_kept
from include.registry import registry
from include.setting_groups import PROJECT
from include.settings import get_settings
from training.evaluate import evaluation, oracle, predictions
from training.gate import gate
from training.gate.policy import load_policy
from training.learn import train
from training.learn.warm_start import days_to_learn
from training.model_variants import MODEL_VARIANTS, model_variant

HISTORY = 8
"""Days before the first judged night: the first champion learns seven of them, a whole week, as one of fewer is not continued."""
DAYS = 20
PLANTED = {
    3: Plan("labels_flipped", "night"),
    6: Plan("ctr_zeroed", "night"),
    9: Plan("snapshot_stale", "night"),
    12: Plan("labels_flipped", "retrain"),
    15: Plan("ctr_zeroed", "retrain"),
    18: Plan("snapshot_stale", "retrain"),
}
"""By number of the night, from 1."""


def nights(days: Sequence[date], tell: Tell) -> Iterator[Outcome]:
    """Yield the outcomes of the candidates of these days in order, after a first champion of the day before them."""
    for night, day in enumerate(days, 1):
        plan = PLANTED.get(night)
        if plan:
            tell(f"night {night}, {day}: undamaged")
            yield judged(night, day, plan, "undamaged")
        tell(f"night {night}, {day}: {plan.fault + ', ' + plan.extent if plan else 'good'}")
        outcome = judged(night, day, plan, "bad" if plan else "good")
        yield replace(outcome, promoted=_follow(day))


def judged(night: int, day: date, plan: Plan | None, kind: Kind) -> Outcome:
    """Return train, evaluate and judge a candidate of the day."""
    settings = get_settings()
    lake = get_lake()
    damage: AbstractContextManager[None] = nullcontext()
    if kind == "bad" and plan:
        training_days = days_to_learn(lake, day, settings)
        damaged_days = training_days if plan.extent == "retrain" else training_days[-1:]
        damage = planted(lake, damaged_days, FAULTS[plan.fault])
    with damage:
        trained = train.run(day, settings, scratch=plan is not None and plan.extent == "retrain")
    assert trained is not None, "the first of several processes has the record"
    evaluation.run(day, settings)
    decision = gate.run(day, kind != "undamaged", settings)
    comparison = next(entry for entry in decision.comparisons if entry.name == "auc")
    figures = (comparison.candidate, comparison.other, comparison.change, comparison.sees)
    candidate, champion, change, sees = (figure for figure in figures if figure is not None)
    return Outcome(
        night=night,
        day=str(day),
        kind=kind,
        plan=plan,
        version=trained.version,
        base=trained.base_version,
        champion=decision.champion,
        trained_days=trained.days,
        verdict=decision.verdict,
        blocking=[rule.name for rule in decision.rules if rule.verdict in ("hold", "reject")],
        reasons=decision.reasons,
        notes=[rule.sentence for rule in decision.rules if rule.verdict == "note"],
        promoted=False,
        auc=(candidate, champion),
        change=change,
        sees=sees,
        **_true_figures(day),
    )


def _follow(day: date) -> bool:
    """Do what the DAG does after the gate if nobody answers; return whether the candidate was promoted."""
    if next_step(day) == "promote":
        apply_decision(day, by="gate")
        return True
    record_refusal(day, by="timeout", reason=why_kept(day))
    return False


def _true_figures(day: date) -> Result:
    """Return the figures of candidate and champion by true click probabilities, as fields of `Outcome`."""
    rows = predictions.read(get_lake(), day)
    oracle_rows = oracle.truth(day, get_settings())
    if oracle_rows is None or rows.champion is None:
        raise MissingDataError(f"{day} has no true probabilities or no champion: expected a generated day with both.")
    truth = (
        oracle_rows["probability"].take(pc.index_in(rows.event_id, oracle_rows["event_id"].combine_chunks())).to_numpy()
    )
    models = (rows.candidate, rows.champion)
    masks = {str(scene): rows.scene == scene for scene in np.unique(rows.scene)}
    return {
        "true_auc": {
            scene: tuple(expected_auc(truth[mask], model[mask]) for model in models) for scene, mask in masks.items()
        },
        "true_log_loss": tuple(expected_log_loss(truth, model) for model in models),
        "true_pcoc": tuple(float(model.sum() / truth.sum()) for model in models),
    }


@contextmanager
def copy_of(home: Home, seed: int, model: str, policy: Path) -> Iterator[None]:
    """Use the settings of a copy of the home with an empty registry inside the block: the faults are planted there."""
    with tempfile.TemporaryDirectory(prefix="ctr-gate-") as folder:
        for name in ("lake", "oracle"):
            shutil.copytree(home.folder / name, Path(folder) / name)
        variables = {"CTR_HOME": folder, "CTR_MODEL": model, "CTR_GATE_POLICY": str(policy.resolve())}
        before = dict(os.environ)
        os.environ |= home.environment(seed) | variables
        get_settings.cache_clear()
        try:
            yield
        finally:
            os.environ.clear()
            os.environ |= before
            get_settings.cache_clear()


def first_champion(day: date) -> None:
    """Train the candidate of the day from scratch and promote it without a gate: there is no champion to compare with."""
    trained = train.run(day, get_settings())
    assert trained is not None
    registry.promote(trained.version, reason="the first champion", by="benchmark")


def main(
    seed: Annotated[int, typer.Option(help="of the world and of its models")] = 18,
    rows: Annotated[int, typer.Option(help="rows a day")] = 5000,
    days: Annotated[int, typer.Option(help="nights that are judged")] = DAYS,
    model: Annotated[str, one_of(MODEL_VARIANTS)] = "ple",
    llm_texts: Annotated[int, typer.Option(help="texts a day for the language model, 8 a second")] = 300,
    policy: Path = PROJECT / "include/policies/gate.yaml",
    home: Annotated[Path | None, typer.Option(help="folder for generated data; default a temporary one")] = None,
    out: Out = None,
) -> None:
    """Run the gate on nights in a row, some with damaged rows, print tables, write JSON; end with status 1 where it failed."""
    options = dict(locals())
    file = result_file("gate-days", out)
    tell: Tell = lambda text: print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)  # noqa: E731
    llm = model_variant(model).llm
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="ctr-gate-data-") as temporary:
        world = generated(home or Path(temporary), seed, rows, HISTORY, days, llm_texts, llm=llm, tell=tell)
        with copy_of(world, seed, model, policy):
            policy_name = load_policy(get_settings().gate_policy).name
            result: Result = {"machine": machine(), "options": options, "policy": policy_name}
            first_champion(world.days[HISTORY - 1])
            for outcome in nights(world.evaluated, tell):
                outcomes.append(outcome)
                result["candidates"] = [candidate.record() for candidate in outcomes]
                file.write_text(json.dumps(result, indent=1, default=os.fspath))
    result["verdicts"] = counts(outcomes)
    file.write_text(json.dumps(result, indent=1, default=os.fspath))
    show(result, outcomes)
    print(file)
    if failed(outcomes):
        sys.exit(1)


if __name__ == "__main__":
    run_benchmark(main)
