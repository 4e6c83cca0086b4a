"""Embedding, training and evaluation of generated days on a GPU and on the processor: speed, and whether the results agree.

Called by `benchmarks/gpu.sh`, which says how. Both devices start from the same tables and run the same commands
(`python -m training …`). The results agree where the vectors of texts have a cosine of at least `LEAST_COSINE`, AUC and log loss
of the evaluated day differ by at most `MOST_CHANGE`, and its predictions by at most `MOST_MEAN_CHANGE` in the mean.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.orc as orc
import typer
from rich.table import Table

from benchmarks.machine import console, result_file
from benchmarks.options import Out, one_of
from include.console import exit_clearly
from include.lake.lake import Lake
from include.metrics_records import value_of
from include.records import Evaluation

FIRST = date(2023, 7, 10)
DAYS = 3
EVALUATED = FIRST + timedelta(days=DAYS - 1)
"""The days before are trained on."""
METRICS = ("auc", "log_loss")
COMMANDS = ("embed-texts", "embed-cold", "train", "evaluate")
LEAST_COSINE = 0.999
MOST_CHANGE = 0.002
MOST_MEAN_CHANGE = 0.005
Result = dict[str, Any]

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@cli.command()
def prepare(folder: Path, rows: Annotated[int, typer.Option(help="rows a day")] = 1_000_000) -> None:
    """Generate days and build their tables in `folder`/home."""
    from benchmarks.features.speed import home_of
    from benchmarks.raw_days import RawDays, days_from
    from include.orchestration.spark_submit import submit
    from include.settings import get_settings

    days = days_from(FIRST, DAYS)
    with home_of(folder / "home", "3g", "local[*]", keep=True) as home:
        RawDays(rows, get_settings().seed, bad_rows=False).write(home / "raw", days)
        list(submit("history", days[0], days[-1]))
    shutil.rmtree(folder / "home/raw")
    (folder / "rows").write_text(str(rows))


@cli.command()
def run(
    folder: Path,
    device: Annotated[list[str], one_of(("cpu", "cuda"))] = ["cpu", "cuda"],  # noqa: B006
    out: Out = None,
) -> None:
    """Run the commands on the two devices, print a table, and end with status 1 where the results do not agree."""
    import torch

    if "cuda" in device and not torch.cuda.is_available():
        raise typer.BadParameter("torch sees no CUDA device")
    rows = int((folder / "rows").read_text())
    homes = [folder / f"home-{number}-{name}" for number, name in enumerate(device)]
    seconds = [_run(folder / "home", home, name) for home, name in zip(homes, device, strict=True)]
    result: Result = {
        "rows_a_day": rows,
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": os.cpu_count(),
        "devices": [{"device": name, "seconds": of_device} for name, of_device in zip(device, seconds, strict=True)],
        "differences": differences(*homes),
    }
    file = result_file("gpu", out)
    file.write_text(json.dumps(result, indent=1))
    _show(result)
    print(file)
    if not agree(result["differences"]):
        raise typer.Exit(1)


def _run(tables: Path, home: Path, device: str) -> dict[str, float]:
    """Run the commands on a copy of the home, and return the seconds of each."""
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(tables, home)
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    environment = {**os.environ, **hidden, "CTR_HOME": str(home), "CTR_ENV_FILE": "", "CTR_SCENES": "0,1,2,3,4"}
    seconds = {}
    for command in COMMANDS:
        print(f"{device}: {command}", file=sys.stderr, flush=True)
        started = time.monotonic()
        call = [sys.executable, "-m", "training", command, "--day", str(EVALUATED)]
        subprocess.run(call, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds[command] = round(time.monotonic() - started, 2)
    return seconds


def differences(one: Path, other: Path) -> dict[str, float]:
    """Return how far the results in two homes lie apart: vectors, metrics of the evaluated day, predictions."""
    vectors = [_vectors(home) for home in (one, other)]
    common = sorted(set(vectors[0]) & set(vectors[1]))
    cosines = [_cosine(vectors[0][key], vectors[1][key]) for key in common]
    predicted = [
        orc.read_table(home / f"lake/_evaluation/dt={EVALUATED}/predictions.orc", columns=["event_id", "candidate"])
        for home in (one, other)
    ]
    assert predicted[0]["event_id"].equals(predicted[1]["event_id"])
    change = np.abs(predicted[0]["candidate"].to_numpy() - predicted[1]["candidate"].to_numpy())
    figures = [_figures(home) for home in (one, other)]
    return {
        "texts": float(len(common)),
        "least_cosine": min(cosines),
        "mean_change_of_predictions": float(change.mean()),
        "largest_change_of_predictions": float(change.max()),
        **{
            f"{metric}_{name}": value
            for name, of_home in zip(("one", "other"), figures, strict=True)
            for metric, value in of_home.items()
        },
    }


def agree(found: dict[str, float]) -> bool:
    """Return whether differences are within the bounds."""
    return (
        found["least_cosine"] >= LEAST_COSINE
        and found["mean_change_of_predictions"] <= MOST_MEAN_CHANGE
        and all(abs(found[f"{metric}_one"] - found[f"{metric}_other"]) <= MOST_CHANGE for metric in METRICS)
    )


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _figures(home: Path) -> dict[str, float]:
    """Return the candidate's metrics of the evaluated day."""
    record = Lake(f"file://{home.resolve()}/lake").record(Evaluation, EVALUATED)
    assert record is not None
    assert record.headline.candidate is not None
    return {metric: value_of(record.headline.candidate, metric) or float("nan") for metric in METRICS}


def _vectors(home: Path) -> dict[tuple[str, int], np.ndarray]:
    """Return the cached vectors of all models, by model and key."""
    found = {}
    for part in sorted((home / "lake/embeddings").rglob("*.orc")):
        table = orc.read_table(part)
        for key, vector in zip(table["text_key"].to_pylist(), table["vector"].to_pylist(), strict=True):
            found[part.parent.name, key] = np.array(vector)
    return found


def _show(result: Result) -> None:
    out = console()
    rows = result["rows_a_day"]
    of_command = {"train": (DAYS - 1) * rows, "evaluate": rows}
    table = Table(title=f"{rows:,} rows a day, {result['gpu']}, {result['cores']} cores", title_justify="left")
    table.add_column("command")
    for entry in result["devices"]:
        table.add_column(f"{entry['device']}: seconds", justify="right")
        table.add_column("rows a second", justify="right")
    for command in COMMANDS:
        cells = []
        for entry in result["devices"]:
            seconds = entry["seconds"][command]
            cells += [f"{seconds:,.1f}", f"{of_command[command] / seconds:,.0f}" if command in of_command else ""]
        table.add_row(command, *cells)
    out.print(table)
    for name, value in result["differences"].items():
        out.print(f"{name}: {value:g}")
    out.print("The results agree." if agree(result["differences"]) else "The results differ by more than the bounds.")


if __name__ == "__main__":
    with exit_clearly():
        cli()
