"""How fast training is, beside torch-rechub's PLE of the same architecture on the same rows, and beside bare matrix products.

    python -m benchmarks.training [--rows 200000] [--days 3] [--batch 4096] [--threads 1 2] [--repeats 3]

- *step*: rows a second of training steps on rows that lie in memory (torch-rechub's steps are cut out of whole tensors).
- *end to end*: from the published ORC tables of all days to a trained model. Ours is `training.learn.train.fit`, which also
  surveys the days, predicts each before it learns it, and calibrates; torch-rechub's is one epoch as in its tutorials.

Every measurement is a process of its own; engines take turns; medians are printed. Both use the GPU where there is one.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.features.speed import FIRST, home_of
from benchmarks.machine import Watch, console, machine, result_file
from benchmarks.raw_days import RawDays, days_from
from benchmarks.training_speed import SIZES
from include.orchestration.spark_submit import submit
from include.settings import PROJECT, get_settings

Result = dict[str, Any]


def measure(given: argparse.Namespace, days: Sequence[str]) -> list[Result]:
    """All measurements, in turns."""
    found: list[Result] = []
    for repeat in range(given.repeats):
        for threads in given.threads:
            for what, engine in (("step", "matmul"), *((w, e) for w in ("step", "whole") for e in ("ours", "rechub"))):
                print(f"{repeat + 1}: {engine} {what}, {threads} threads", file=sys.stderr, flush=True)
                command = ["-m", "benchmarks.training_speed", "--engine", engine, "--what", what, "--days", *days]
                options = {"threads": threads, "batch": given.batch, "seconds": given.seconds}
                command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
                with Watch() as watch:
                    done = subprocess.run(
                        [sys.executable, *command], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True
                    )
                    told = json.loads(done.stdout.splitlines()[-1])
                about = {"engine": engine, "what": what, "threads": threads}
                found.append(about | told | {"peak_mib": watch.taken["python_peak_mib"], "load": watch.taken["load"]})
    return found


def summary(found: Sequence[Result]) -> list[Result]:
    """Medians of each number of threads, and how they compare."""

    def median(threads: int, engine: str, what: str, name: str) -> float:
        return statistics.median(
            each[name] for each in found if (each["threads"], each["engine"], each["what"]) == (threads, engine, what)
        )

    told = []
    for threads in sorted({each["threads"] for each in found}):
        peak = median(threads, "matmul", "step", "flop_per_second")
        row: Result = {"threads": threads, "matmul_gflops": peak / 1e9}
        for what in ("step", "whole"):
            ours, other = (median(threads, engine, what, "rows_per_second") for engine in ("ours", "rechub"))
            row[what] = {"ours": ours, "rechub": other, "ratio": ours / other}
            row[what] |= {
                f"{engine}_peak_mib": median(threads, engine, what, "peak_mib") for engine in ("ours", "rechub")
            }
        row["share_of_matmul"] = row["step"]["ours"] * median(threads, "ours", "step", "flop_per_row") / peak
        told.append(row)
    return told


def show(result: Result) -> None:
    """Prints a table."""
    told, options = result["machine"], result["options"]
    out = console()
    out.print(
        f"{told['cores']} cores, {told['cpu']}, {told['device']}; torch {told['torch']}, torch-rechub {told['torch-rechub']}, "
        f"code {told['code']}; PLE {SIZES}, batch {options['batch']:,}, {options['days']} days of {options['rows']:,} rows"
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
            of = row[what]
            speeds = (f"{of['ours']:,.0f}", f"{of['rechub']:,.0f}", f"{of['ratio']:.1f}")
            memory = (f"{of['ours_peak_mib']:,.0f}", f"{of['rechub_peak_mib']:,.0f}")
            share = f"{row['share_of_matmul']:.0%} of {row['matmul_gflops']:,.0f} GFLOP/s" if what == "step" else ""
            table.add_row(str(row["threads"]), label, *speeds, *memory, share)
    out.print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """Makes the days, measures, prints a table, writes JSON."""
    given = _arguments(argv)
    out = result_file("training", given.out)
    with (
        tempfile.TemporaryDirectory(prefix="ctr-bench-") as temporary,
        home_of(given.home or Path(temporary), "8g", "local[2]", keep=given.home is not None) as home,
    ):
        days = days_from(FIRST, given.days)
        if not (home / "lake").exists():
            print(f"{given.days} days of {given.rows:,} rows through Spark", file=sys.stderr, flush=True)
            RawDays(given.rows, get_settings().seed, bad_rows=False).write(home / "raw", days)
            list(submit("history", days[0], days[-1]))
        found = measure(given, [str(day) for day in days])
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    about = machine() | {name: version(name) for name in ("torch", "torch-rechub")} | {"device": gpu}
    options = {name: getattr(given, name) for name in ("rows", "days", "batch", "threads", "repeats", "seconds")}
    result = {"machine": about, "options": options, "sizes": SIZES, "summary": summary(found), "measurements": found}
    out.write_text(json.dumps(result, indent=1))
    show(result)
    print(out)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of training, beside torch-rechub.")
    parser.add_argument("--rows", type=int, default=200_000, help="rows a day")
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4096, help="rows of a step")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long steps are measured")
    parser.add_argument("--home", type=Path, help="folder of the days, kept and used again; default a temporary one")
    parser.add_argument("--out", type=Path, help="JSON file; default .ctr/bench/training-….json")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
