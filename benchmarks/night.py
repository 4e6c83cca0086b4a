"""What a night costs, task by task, the most expensive first: seconds, processor time, peak memory, rows a second.

    python -m benchmarks.night [--rows 20000 --rows 1000000] [--history 2]

Each task is the program that Airflow's task runs, one after another, in a home of generated days; Airflow's own share (some two
seconds a task) is not in it. The night that is shown is the second of two, whose candidate continues a champion, as every later
one does.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.features.speed import FIRST, home_of, spark_job
from benchmarks.machine import Watch, console, machine, result_file
from benchmarks.options import Out, run_benchmark
from benchmarks.raw_days import RawDays, days_from
from include.lake.lake import get_lake
from include.orchestration.night import DECIDE, STEPS
from include.orchestration.spark_submit import submit
from include.orchestration.training_process import run_logged
from include.setting_groups import PROJECT
from include.settings import get_settings
from include.stages import STAGES

ROWS = [20_000, 1_000_000]
NIGHTS = 2
_PROMOTE = (
    "import sys; from datetime import date; from include.orchestration.decision import apply_decision, next_step; "
    "day = date.fromisoformat(sys.argv[1]); next_step(day) == 'promote' and apply_decision(day, by='gate')"
)
Result = dict[str, Any]


def measure(home: Path, rows: int, history: int, tell: Callable[[str], None]) -> Result:
    """Return the cost of each task of the second night after some days of history."""
    days = days_from(FIRST, history + NIGHTS)
    tell(f"{rows:,} rows: raw days")
    RawDays(rows, get_settings().seed, bad_rows=False).write(home / "raw", days)
    tell(f"{rows:,} rows: history of {history} days")
    list(submit("history", days[0], days[history - 1]))
    for day in days[history:]:
        tasks = {}
        for step in STEPS:
            tell(f"{rows:,} rows, {day}: {step}")
            tasks[step] = _cost(home, step, day)
    published = get_lake().manifest("training", days[-1])
    assert published is not None
    total = published.table("training").rows
    for cost in tasks.values():
        cost["rows_per_second"] = round(total / cost["wall_seconds"])
    seconds = round(sum(cost["wall_seconds"] for cost in tasks.values()), 1)
    return {"rows": rows, "day": str(days[-1]), "wall_seconds": seconds, "tasks": tasks}


def _cost(home: Path, step: str, day: date) -> Result:
    if step in STAGES:
        return spark_job(step, day)
    with Watch() as watch:
        if step == DECIDE:
            subprocess.run([sys.executable, "-c", _PROMOTE, str(day)], cwd=PROJECT, check=True)
        else:
            options = ["--may-promote"] if step == "gate" else []
            run_logged(home / "night.log", step, "--day", str(day), *options)
    return watch.taken


def show(result: Result) -> None:
    """Print a table for each number of rows."""
    out = console()
    host = result["machine"]
    out.print(f"{host['cores']} cores, {host['cpu']}, code {host['code']}")
    for night in result["nights"]:
        table = Table(title=f"{night['rows']:,} rows: {night['wall_seconds']:,.0f} s", title_justify="left")
        table.add_column("task")
        for name in ("seconds", "share", "processor seconds", "JVM, peak MiB", "Python, peak MiB", "rows a second"):
            table.add_column(name, justify="right")
        for name, cost in sorted(night["tasks"].items(), key=lambda entry: -entry[1]["wall_seconds"]):
            table.add_row(
                name,
                f"{cost['wall_seconds']:,.1f}",
                f"{cost['wall_seconds'] / night['wall_seconds']:.0%}",
                f"{cost['cpu_seconds']:,.1f}",
                f"{cost['jvm_peak_mib']:,}",
                f"{cost['python_peak_mib']:,}",
                f"{cost['rows_per_second']:,}",
            )
        out.print(table)


def main(
    rows: Annotated[list[int], typer.Option(help="rows a day; repeated")] = ROWS,
    history: Annotated[int, typer.Option(min=1, help="days before the two nights")] = 2,
    memory: Annotated[str, typer.Option(help="memory of Spark's driver")] = "3g",
    home: Annotated[Path | None, typer.Option(help="folder for the days; default a temporary one")] = None,
    out: Out = None,
) -> None:
    """Measure a night task by task, print tables, write JSON."""
    file = result_file("night", out)
    result: Result = {"machine": machine(), "history": history, "nights": []}
    for number in rows:
        with (
            tempfile.TemporaryDirectory(prefix="ctr-bench-", dir=home) as temporary,
            home_of(Path(temporary), memory, "local[2]", keep=False) as folder,
        ):
            result["nights"].append(measure(folder, number, history, _tell))
            file.write_text(json.dumps(result, indent=1))
    show(result)
    print(file)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_benchmark(main)
