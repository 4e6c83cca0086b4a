"""Quality of the models, beside each other and beside LightGBM and torch-rechub, on the next day's clicks.

    python -m benchmarks.quality.compare [--data generated mind] [--seeds 17 18 19] [--rows 20000]
        [--history 7 --days 3] [--models …]
    CTR_HOME=… python -m benchmarks.quality.compare --data lake     # the newest days of that home's lake, or of any CTR_LAKE

Every model is fitted on the same rows of all days before an evaluation day, from nothing, and predicts that day; then the day
joins the past and the next one follows. No model reads an evaluation day before it has predicted it: the peers stop early on
the last training day. Prints tables, writes JSON. With `--home`, data and predictions are used again.

The protocol that flatters (random split, features with the row's own day) is `python -m training leak-demo`.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine, result_file
from benchmarks.quality.fit import fitted
from benchmarks.quality.homes import DEVELOPED_ON, DEVELOPMENT_SEED, Home, Tell, about, generated, mind, own_lake
from benchmarks.quality.models import LLM, MODELS, PEERS, VARIANTS
from benchmarks.quality.plot import draw
from benchmarks.quality.report import show, title
from benchmarks.quality.score import ORACLE, EvaluatedRows, MeasuredHome, best_possible, by_day, measure, summary
from training.evaluate.metrics import Floats

Result = dict[str, Any]
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


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the selected data and models, print tables and write JSON."""
    args = _arguments(argv)
    out = result_file("quality", args.out)
    options = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    result: Result = {
        "machine": machine() | {name: version(name) for name in PACKAGES},
        "options": options,
        "developed_on": {"seed": DEVELOPMENT_SEED, **DEVELOPED_ON},
        "data": {},
    }
    tell: Tell = lambda text: print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)  # noqa: E731
    with tempfile.TemporaryDirectory(prefix="ctr-quality-") as temporary:
        root = args.home or Path(temporary)
        for data in args.data:
            homes = _homes(data, root, args, tell)
            if homes:
                result["data"][data] = of_data(homes, args.models, args.resamples, tell)
                out.write_text(json.dumps(result, indent=1))
    show(result)
    for data, figures in result["data"].items():
        picture = out.with_name(f"{out.stem}-{data}.png")
        if draw(figures, title(data, figures), picture):
            print(picture)
    print(out)


def _homes(data: str, root: Path, args: argparse.Namespace, tell: Tell) -> list[Home]:
    llm = LLM in args.models
    if data == "generated":
        return [
            generated(root, seed, args.rows, args.history, args.days, args.llm_texts, llm=llm, tell=tell)
            for seed in args.seeds
        ]
    if data == "lake":
        return [own_lake(root, args.model_seeds, args.history, args.days)]
    if not (args.mind_behaviors and args.mind_news):
        tell("mind: skipped, as --mind-behaviors and --mind-news are not given")
        return []
    files = (args.mind_behaviors, args.mind_news)
    return [mind(root, *files, args.model_seeds, args.llm_texts, llm=llm, tell=tell)]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Quality of the models beside LightGBM and torch-rechub.")
    parser.add_argument("--data", nargs="+", choices=("generated", "mind", "lake"), default=["generated", "mind"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[17, 18, 19], help="worlds, and seeds of their models")
    parser.add_argument("--rows", type=int, default=20_000, help="rows a generated day")
    parser.add_argument("--history", type=int, default=7, help="days before the first that is predicted")
    parser.add_argument("--days", type=int, default=3, help="days that are predicted")
    parser.add_argument(
        "--model-seeds", nargs="+", type=int, default=[17], help="seeds of the models on MIND and on a lake"
    )
    parser.add_argument("--mind-behaviors", type=Path, help="MIND's behaviors.tsv[.gz]")
    parser.add_argument("--mind-news", type=Path, help="MIND's news.tsv[.gz]")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*PEERS, *VARIANTS])
    parser.add_argument("--llm-texts", type=int, default=300, help="texts a day for the language model, 8 a second")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--home", type=Path, help="folder for data and predictions; default a temporary one")
    parser.add_argument("--out", type=Path, help="JSON file; default .ctr/bench/quality-….json")
    args = parser.parse_args(argv)
    if min(args.history, args.days + 1) < 2:
        parser.error("expected --history of at least 2 (peers stop early on one day) and --days of at least 1")
    return args


if __name__ == "__main__":
    main()
