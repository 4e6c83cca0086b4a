"""Quality of the models, beside each other and beside LightGBM and torch-rechub, on the next day's clicks.

    python -m benchmarks.quality.compare [--data generated --data mind] [--seeds 17 --seeds 18 …]
        [--rows 20000] [--history 7 --days 3] [--models ple --models …]
    CTR_HOME=… python -m benchmarks.quality.compare --data lake     # the newest days of that home's lake, or of any CTR_LAKE

Every model is fitted on the same rows of all days before an evaluation day, from scratch, and predicts that day; then the day
joins the past and the next one follows. No model reads an evaluation day before it has predicted it: the peers stop early on
the last training day. Prints tables, writes JSON. With `--home`, data and predictions are used again.

The protocol that flatters (random split, features with the row's own day) is `python -m training leak-demo`.
"""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer

from benchmarks.machine import machine, result_file
from benchmarks.options import Out, one_of, run_benchmark
from benchmarks.quality.fit import fitted
from benchmarks.quality.homes import DEVELOPED_ON, DEVELOPMENT_SEED, Data, Home, Tell, about, generated, mind, own_lake
from benchmarks.quality.models import LLM, MODELS, PEERS, VARIANTS
from benchmarks.quality.plot import draw
from benchmarks.quality.report import show, title
from benchmarks.quality.score import ORACLE, EvaluatedRows, MeasuredHome, best_possible, by_day, measure, summary
from training.evaluate.metrics import Floats

Result = dict[str, Any]
DATA = ["generated", "mind"]
SEEDS = [17, 18, 19]
MODEL_SEEDS = [17]
DEFAULT_MODELS = [*PEERS, *VARIANTS]
PACKAGES = ("torch", "lightgbm", "torch-rechub", "scikit-learn", "numpy", "pyarrow", "faiss-cpu")


def measured(home: Home, models: Sequence[str], resamples: int, tell: Tell) -> tuple[MeasuredHome, list[Result]]:
    """Fit every model and predict every evaluation day of a home; return the metrics and the records of the fits."""
    rows = EvaluatedRows.of(home)
    predicted: dict[tuple[str, int], Floats] = {}
    fits: list[Result] = []
    best = best_possible(home, rows)
    for seed in home.seeds:
        for model in models:
            tell(f"{home.name}: {model}, seed {seed}, {len(home.evaluated)} evaluation days")
            of_days = fitted(home, model, seed)
            predicted[model, seed] = np.concatenate([probability for probability, _ in of_days])
            fits += [record for _, record in of_days]
        if best is not None:
            predicted[ORACLE, seed] = best
    tell(f"{home.name}: {resamples} resamples of {len(predicted)} models")
    metrics = measure(rows, list(predicted.values()), home.scenes, resamples, home.name)
    return MeasuredHome(home, dict(zip(predicted, metrics, strict=True))), fits


def of_data(homes: Sequence[Home], models: Sequence[str], resamples: int, tell: Tell) -> Result:
    """Return all figures of a data set."""
    measured_homes = []
    fits: list[Result] = []
    for home in homes:
        measured_home, records = measured(home, models, resamples, tell)
        measured_homes.append(measured_home)
        fits += records
    return {
        "homes": {home.name: about(home) for home in homes},
        "models": summary(measured_homes, models),
        "by_day": by_day(measured_homes, models),
        "fits": fits,
    }


def main(
    data: Annotated[list[str], one_of(get_args(Data))] = DATA,
    seeds: Annotated[list[int], typer.Option(help="worlds, and seeds of their models")] = SEEDS,
    rows: Annotated[int, typer.Option(help="rows a generated day")] = 20_000,
    history: Annotated[int, typer.Option(min=2, help="days before the first that is predicted")] = 7,
    days: Annotated[int, typer.Option(min=1, help="days that are predicted")] = 3,
    model_seeds: Annotated[list[int], typer.Option(help="seeds of the models on MIND and on a lake")] = MODEL_SEEDS,
    mind_behaviors: Annotated[Path | None, typer.Option(help="MIND's behaviors.tsv[.gz]")] = None,
    mind_news: Annotated[Path | None, typer.Option(help="MIND's news.tsv[.gz]")] = None,
    models: Annotated[list[str], one_of(MODELS)] = DEFAULT_MODELS,
    llm_texts: Annotated[int, typer.Option(help="texts a day for the language model, 8 a second")] = 300,
    resamples: int = 1000,
    home: Annotated[Path | None, typer.Option(help="folder for data and predictions; default a temporary one")] = None,
    out: Out = None,
) -> None:
    """Measure the quality of models beside LightGBM and torch-rechub, print tables and write JSON."""
    options = dict(locals())
    file = result_file("quality", out)
    result: Result = {
        "machine": machine() | {name: version(name) for name in PACKAGES},
        "options": options,
        "developed_on": {"seed": DEVELOPMENT_SEED, **DEVELOPED_ON},
        "data": {},
    }
    tell: Tell = lambda text: print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)  # noqa: E731
    llm = LLM in models

    def homes(name: str, root: Path) -> list[Home]:
        if name == "generated":
            return [generated(root, seed, rows, history, days, llm_texts, llm=llm, tell=tell) for seed in seeds]
        if name == "lake":
            return [own_lake(root, model_seeds, history, days)]
        if mind_behaviors and mind_news:
            return [mind(root, mind_behaviors, mind_news, model_seeds, llm_texts, llm=llm, tell=tell)]
        tell("mind: skipped, as --mind-behaviors and --mind-news are not given")
        return []

    with tempfile.TemporaryDirectory(prefix="ctr-quality-") as temporary:
        for name in data:
            if of_name := homes(name, home or Path(temporary)):
                result["data"][name] = of_data(of_name, models, resamples, tell)
                file.write_text(json.dumps(result, indent=1, default=os.fspath))
    show(result)
    for name, figures in result["data"].items():
        picture = file.with_name(f"{file.stem}-{name}.png")
        if draw(figures, title(name, figures), picture):
            print(picture)
    print(file)


if __name__ == "__main__":
    run_benchmark(main)
