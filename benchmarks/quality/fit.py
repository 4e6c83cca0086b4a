"""The fits of one model in `benchmarks.quality.compare`, in a process of their own, so that time and memory are their own.

    python -m benchmarks.quality.fit --model ple --days 2023-07-10 --days … --evaluate 2023-07-17 --evaluate … --out FOLDER

Works in the home of the settings. Predictions of each day go to `{out}/{day}.npz`, the rest to `{out}/{day}.json`.
"""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.machine import Watch
from benchmarks.options import Days, run_benchmark
from benchmarks.quality.homes import Home, run
from benchmarks.quality.models import fit_and_predict
from benchmarks.quality.rows import NEEDED_FOR
from include.lake.lake import get_lake
from include.setting_groups import PROJECT
from include.settings import get_settings
from include.version import digest_of
from training.evaluate.metrics import Floats
from training.text.encoders import resolve_encoder, resolve_llm


def fitted(home: Home, model: str, seed: int) -> list[tuple[Floats, dict[str, Any]]]:
    """Return, for each evaluation day, a model's predictions `[rows]` in the order of the events, and the record of the fit.

    Results of an earlier call are reused if code, settings, vectors and training rows are the same.
    """
    folder = home.folder / "predictions" / f"{model}-{seed}-{_key(home, seed)}"
    cost_file = folder / "cost.json"
    if not cost_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        days = [*(f"--days={day}" for day in home.days), *(f"--evaluate={day}" for day in home.evaluated)]
        with Watch() as watch:
            run(home, seed, "-m", "benchmarks.quality.fit", f"--model={model}", *days, f"--out={folder}")
        cost = {"peak_mib": watch.taken["python_peak_mib"], "load_before": watch.taken["load"], "code": code_digest()}
        cost_file.write_text(json.dumps(cost))
    about = {"home": home.name, "model": model, "seed": seed} | json.loads(cost_file.read_text())
    return [
        (np.load(folder / f"{day}.npz")["probability"], about | json.loads((folder / f"{day}.json").read_text()))
        for day in home.evaluated
    ]


def code_digest() -> str:
    """Return a short hash of the code that data and predictions depend on, uncommitted changes included."""
    files = [
        path for package in ("training", "include", "benchmarks/quality") for path in PROJECT.glob(f"{package}/**/*.py")
    ]
    return digest_of(files)[:12]


def _key(home: Home, seed: int) -> str:
    """Return a short hash of all that predictions depend on."""
    settings = home.settings(seed)
    builds = [home.lake.require("training", day, NEEDED_FOR).build for day in home.days]
    slugs = [resolve(settings).slug for resolve in (resolve_encoder, resolve_llm)]
    vectors = [path for slug in slugs for path in home.lake.files(f"embeddings/model={slug}", ".orc")]
    parts = [code_digest(), settings.digest(), *map(str, home.evaluated), *builds, *vectors]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def main(
    model: Annotated[str, typer.Option()], days: Days, evaluate: Days, out: Annotated[Path, typer.Option()]
) -> None:
    """Fit one model of the quality benchmark and predict, day by day."""
    for day in evaluate:
        trained_days = [past for past in days if past < day]
        result = fit_and_predict(model, get_lake(), trained_days, day, get_settings())
        record = {
            "day": str(day),
            "days_learnt": len(trained_days),
            "rows_learnt": result.rows,
            "rows_predicted": len(result.probability),
            "fit_seconds": round(result.fit_seconds, 2),
            "predict_seconds": round(result.predict_seconds, 2),
            "about": result.about,
        }
        np.savez(out / f"{day}.npz", probability=result.probability)
        (out / f"{day}.json").write_text(json.dumps(record))


if __name__ == "__main__":
    run_benchmark(main)
