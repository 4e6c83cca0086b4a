"""Speed of training, beside torch-rechub's PLE of the same architecture on the same rows, and beside bare matrix products.

    python -m benchmarks.training [--rows 200000] [--days 3] [--batch 4096] [--threads 1 --threads 2] [--repeats 3]

- *step*: rows a second of training steps on rows that lie in memory (torch-rechub's steps are cut out of whole tensors).
- *end to end*: from the published ORC tables of all days to a trained model. Ours is `training.learn.train.fit`, which also
  surveys the days, predicts each before it learns it, and calibrates; torch-rechub's is one epoch as in its tutorials.

Beside them, end to end: the default model at default settings, and LightGBM on the same rows, without ids and texts.

Every measurement is a separate process; engines take turns; medians are printed. Both use the GPU where there is one.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table

from benchmarks.features.speed import FIRST, home_of
from benchmarks.machine import Watch, console, machine, result_file
from benchmarks.options import Out, run_benchmark
from benchmarks.raw_days import RawDays, days_from
from benchmarks.training_speed import ALONE, SIZES
from include.orchestration.spark_submit import submit
from include.orchestration.training_process import run_logged
from include.setting_groups import PROJECT
from include.settings import get_settings

THREADS = [1, 2]
Result = dict[str, Any]


def measure(days: Sequence[date], batch: int, all_threads: Sequence[int], repeats: int, seconds: float) -> list[Result]:
    """Return all measurements; the engines take turns."""
    compared = [("step", "matmul"), *((what, engine) for what in ("step", "whole") for engine in ("ours", "rechub"))]
    turns = [(what, engine, threads) for threads in all_threads for what, engine in compared]
    turns += [("whole", engine, 0) for engine in ALONE]
    return [
        _measured(days, what, engine, threads, batch, seconds)
        for _ in range(repeats)
        for what, engine, threads in turns
    ]


def _measured(days: Sequence[date], what: str, engine: str, threads: int, batch: int, seconds: float) -> Result:
    print(f"{engine} {what}" + (f", {threads} threads" if threads else ""), file=sys.stderr, flush=True)
    command = ["-m", "benchmarks.training_speed", "--engine", engine, "--what", what]
    options = {"threads": threads, "batch": batch, "seconds": seconds}
    command += [f"--{name}={value}" for name, value in options.items()] + [f"--days={day}" for day in days]
    with Watch() as watch:
        done = subprocess.run([sys.executable, *command], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    about = {"engine": engine, "what": what, "threads": threads}
    return about | figures | {"peak_mib": watch.taken["python_peak_mib"], "load": watch.taken["load"]}


def summary(measurements: Sequence[Result]) -> list[Result]:
    """Return medians by number of threads, and their ratios, of the engines that are compared at equal threads."""

    def median(threads: int, engine: str, what: str, name: str) -> float:
        return statistics.median(
            run[name] for run in measurements if (run["threads"], run["engine"], run["what"]) == (threads, engine, what)
        )

    rows = []
    for threads in sorted({run["threads"] for run in measurements if run["engine"] not in ALONE}):
        peak = median(threads, "matmul", "step", "flop_per_second")
        row: Result = {"threads": threads, "matmul_gflops": peak / 1e9}
        for what in ("step", "whole"):
            ours, other = (median(threads, engine, what, "rows_per_second") for engine in ("ours", "rechub"))
            row[what] = {"ours": ours, "rechub": other, "ratio": ours / other}
            row[what] |= {
                f"{engine}_peak_mib": median(threads, engine, what, "peak_mib") for engine in ("ours", "rechub")
            }
        row["share_of_matmul"] = row["step"]["ours"] * median(threads, "ours", "step", "flop_per_row") / peak
        rows.append(row)
    return rows


def alone(measurements: Sequence[Result]) -> dict[str, Result]:
    """Return medians of rows a second and peak memory of the engines with threads of their own."""
    return {
        engine: {
            name: statistics.median(run[name] for run in measurements if run["engine"] == engine)
            for name in ("rows_per_second", "peak_mib")
        }
        for engine in ALONE
    }


def show(result: Result) -> None:
    """Print a table."""
    host = result["machine"]
    options = result["options"]
    out = console()
    out.print(
        f"{host['cores']} cores, {host['cpu']}, {host['device']}; torch {host['torch']}, torch-rechub {host['torch-rechub']}, "
        f"code {host['code']}; PLE {SIZES}, batch {options['batch']:,}, {options['days']} days of {options['rows']:,} rows"
    )
    table = Table(title="Rows a second, medians", title_justify="left")
    for name in (
        "threads",
        "",
        "ours",
        "torch-rechub",
        "ratio",
        "ours, peak MiB",
        "torch-rechub",
        "of matrix products",
    ):
        table.add_column(name, justify="right")
    for row in result["summary"]:
        for what, label in (("step", "step"), ("whole", "end to end")):
            speed = row[what]
            speeds = (f"{speed['ours']:,.0f}", f"{speed['rechub']:,.0f}", f"{speed['ratio']:.1f}")
            memory = (f"{speed['ours_peak_mib']:,.0f}", f"{speed['rechub_peak_mib']:,.0f}")
            share = f"{row['share_of_matmul']:.0%} of {row['matmul_gflops']:,.0f} GFLOP/s" if what == "step" else ""
            table.add_row(str(row["threads"]), label, *speeds, *memory, share)
    out.print(table)
    names = {"defaults": f"{result['model']} at default settings", "lightgbm": "LightGBM"}
    for engine, speed in result["alone"].items():
        out.print(
            f"{names[engine]}, end to end: {speed['rows_per_second']:,.0f} rows a second, {speed['peak_mib']:,.0f} MiB"
        )


def main(
    rows: Annotated[int, typer.Option(help="rows a day")] = 200_000,
    days: int = 3,
    batch: Annotated[int, typer.Option(help="rows of a step")] = 4096,
    threads: list[int] = THREADS,
    repeats: int = 3,
    seconds: Annotated[float, typer.Option(help="how long steps are measured")] = 10.0,
    home: Annotated[
        Path | None, typer.Option(help="folder of the days, kept and used again; default a temporary one")
    ] = None,
    out: Out = None,
) -> None:
    """Measure the speed of training beside torch-rechub on days that it makes, print a table, write JSON."""
    file = result_file("training", out)
    with (
        tempfile.TemporaryDirectory(prefix="ctr-bench-") as temporary,
        home_of(home or Path(temporary), "8g", "local[2]", keep=home is not None) as folder,
    ):
        all_days = days_from(FIRST, days)
        if not (folder / "lake").exists():
            print(f"{days} days of {rows:,} rows through Spark", file=sys.stderr, flush=True)
            RawDays(rows, get_settings().seed, bad_rows=False).write(folder / "raw", all_days)
            list(submit("history", all_days[0], all_days[-1]))
            for command in ("embed-texts", "embed-cold"):
                run_logged(folder / "embedding.log", command, "--day", str(all_days[-1]))
        measurements = measure(all_days, batch, threads, repeats, seconds)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    about = machine() | {name: version(name) for name in ("torch", "torch-rechub")} | {"device": gpu}
    options = {"rows": rows, "days": days, "batch": batch, "threads": threads, "repeats": repeats, "seconds": seconds}
    result: Result = {"machine": about, "options": options, "sizes": SIZES}
    result |= {"summary": summary(measurements), "alone": alone(measurements), "measurements": measurements}
    result |= {"model": get_settings().model}
    file.write_text(json.dumps(result, indent=1))
    show(result)
    print(file)


if __name__ == "__main__":
    run_benchmark(main)
