"""How fast the Spark jobs are, with DuckDB on the same machine in the same run as the single-node yardstick.

    python -m benchmarks.features.speed [--part jobs --part days …] [--rows 1000000 --rows …]
        [--day-rows 100000] [--days 30] [--scenes 5]

- `jobs`: seconds, rows a second and peak memory of each job on the second of two days, through spark-submit as users run it.
- `mapped`: the ingest of one day in the project's own form, and of the same day as text with tabs and as Parquet by a mapping.
- `days`: seconds of day 30 against day 3 at equal rows, all loaded by one `spark_jobs/history.py`, and the checks that failed.
- `recompute`: the feature tables of day 30 from day 29's and the day's log, against all of them from thirty days of logs; and
  nightly feature jobs of days 3, 8 (the first whose window leaves a day behind) and 30, medians of three. Without the part
  `days`, its history has no training tables, so that it can be long and large.

DuckDB writes Parquet, not ORC, and has no audits: Spark's audit is measured apart from its build, and the ratio is of builds.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.features.mapped_logs import measure_mapped
from benchmarks.features.report import show
from benchmarks.machine import Watch, machine, result_file
from benchmarks.options import Out, one_of, run_benchmark
from benchmarks.raw_days import RawDays, days_from
from include.lake.lake import get_lake
from include.orchestration.spark_submit import PUBLISH, driver_java_options, raw_bytes, submit
from include.setting_groups import PROJECT
from include.settings import get_settings
from include.stages import STAGES, Stage

FIRST = date(2023, 7, 10)
JOBS: dict[Stage, tuple[str, str]] = {
    "logs": ("ingest", "ingest"),
    "features": ("features", "features"),
    "training": ("training_table", "training"),
}
"""By stage: the Spark job, and DuckDB's step."""
PARTS = ["jobs", "mapped", "days", "recompute"]
JOB_ROWS = [1_000_000]
EARLY_NIGHTS = (3, 8)
REPEATS = 3
Result = dict[str, Any]


@contextmanager
def home_of(folder: Path, memory: str, master: str, *, keep: bool, scenes: int = 5) -> Iterator[Path]:
    """Use a lake, raw days and settings in `folder` inside the block, so that nothing of the user's is read or written."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "CTR_HOME": str(folder),
        "CTR_LAKE": "",
        "CTR_RAW": "",
        "CTR_SCENES": ",".join(map(str, range(scenes))),
        "CTR_SPARK_DRIVER_MEMORY": memory,
        "CTR_SPARK_MASTER": master,
    }
    get_settings.cache_clear()
    try:
        yield folder
    finally:
        if not keep:
            for name in ("raw", "lake", "duckdb", "recomputed"):
                shutil.rmtree(folder / name, ignore_errors=True)


# The two engines


def spark_job(stage: Stage, day: date, *, publish: bool = True) -> Result:
    """Run a stage's job for a day; return its cost, with the seconds of its build and its audit."""
    with Watch() as watch:
        list(submit(JOBS[stage][0], day, day, options=PUBLISH if publish else ()))
    quality = get_lake().quality(stage, day)
    assert quality is not None
    assert quality.seconds is not None
    return {
        **watch.taken,
        "build_seconds": quality.seconds["build"],
        "audit_seconds": quality.seconds["audit"],
        "rows": quality.rows,
        "status": quality.status,
    }


def duckdb_steps(home: Path, first: date, last: date, *steps: str, threads: int) -> tuple[list[Result], Result]:
    """Run DuckDB's steps for days in a separate process; return each step's seconds, and the cost of the process."""
    command = [sys.executable, "-m", "benchmarks.features.duckdb_pipeline", f"--raw={home / 'raw'}"]
    command += [f"--root={home / 'duckdb'}", f"--from={first}", f"--to={last}", f"--threads={threads}"]
    command += [f"--memory={get_settings().spark_driver_memory}", *(f"--steps={step}" for step in steps)]
    with Watch() as watch:
        done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()], watch.taken


def cores(master: str) -> int:
    """Return the threads of a local master: `local[2]` has two."""
    inside = master.partition("[")[2].rstrip("]").partition(",")[0]
    return int(inside) if inside.isdigit() else os.cpu_count() or 1


# Parts


def measure_jobs(home: Path, rows: int, seed: int, tell: Callable[[str], None]) -> Result:
    """Measure each job on the second day."""
    first, second = days_from(FIRST, 2)
    threads = cores(get_settings().spark_master)
    tell(f"{rows:,} rows a day: raw days")
    with Watch() as watch:
        RawDays(rows, seed).write(home / "raw", [first, second], threads)
    made = watch.taken["wall_seconds"]
    tell(f"{rows:,} rows a day: the first day")
    list(submit("ingest", first, first, options=PUBLISH))
    list(submit("features", first, first, options=PUBLISH))
    duckdb_steps(home, first, first, "ingest", "features", threads=threads)
    jobs = {}
    for stage, (job, step) in JOBS.items():
        tell(f"{rows:,} rows a day: {job} in Spark")
        spark = spark_job(stage, second)
        tell(f"{rows:,} rows a day: {job} in DuckDB")
        (step_result,), duckdb = duckdb_steps(home, second, second, step, threads=threads)
        duckdb["build_seconds"] = step_result["seconds"]
        jobs[job] = {
            "spark": spark,
            "duckdb": duckdb,
            "build_ratio": round(spark["build_seconds"] / step_result["seconds"], 2),
            "wall_ratio": round(spark["wall_seconds"] / duckdb["wall_seconds"], 2),
            "cpu_ratio": round(spark["cpu_seconds"] / duckdb["cpu_seconds"], 2),
        }
    size = raw_bytes(second) >> 20
    for name in ("raw", "lake", "duckdb"):
        shutil.rmtree(home / name)
    return {"rows": rows, "raw_day_mib": size, "raw_seconds_for_two_days": made, "day": str(second), "jobs": jobs}


def measure_days(home: Path, rows: int, count: int, scenes: int, seed: int, tell: Callable[[str], None]) -> Result:
    """Measure the seconds of early and late days of one history, and count the checks that failed on any of them."""
    days = days_from(FIRST, count)
    threads = cores(get_settings().spark_master)
    tell(f"{count} days of {rows:,} rows: raw days")
    RawDays(rows, seed, bad_rows=False, scenes=scenes).write(home / "raw", days, threads)
    tell(f"{count} days of {rows:,} rows: history in Spark")
    with Watch() as watch:
        list(submit("history", days[0], days[-1]))
    tell(f"{count} days of {rows:,} rows: history in DuckDB")
    steps, duckdb = duckdb_steps(home, days[0], days[-1], "ingest", "features", "training", threads=threads)
    seconds: dict[str, dict[str, list[float]]] = {}
    for stage, (job, step) in JOBS.items():
        records = [get_lake().quality(stage, day) for day in days]
        seconds[job] = {
            "spark_build": [record.seconds["build"] for record in records if record and record.seconds],
            "spark_audit": [record.seconds["audit"] for record in records if record and record.seconds],
            "duckdb": [result["seconds"] for result in steps if result["step"] == step],
        }
    return {
        "rows": rows,
        "scenes": scenes,
        "days": [str(day) for day in days],
        "early_days": "2-4",
        "late_days": f"{count - 2}-{count}",
        "seconds": seconds,
        "medians": {
            job: {engine: _early_and_late(values) for engine, values in engines.items()}
            for job, engines in seconds.items()
        },
        "spark": watch.taken,
        "duckdb": duckdb,
        "checks": _checks(days),
    }


def _early_and_late(values: Sequence[float]) -> Result:
    early, late = statistics.median(values[1:4]), statistics.median(values[-3:])
    return {"early": early, "late": late, "ratio": round(late / early, 2)}


def _checks(days: Sequence[date]) -> Result:
    """Count the checks of all days: those that passed, and the others by table and name."""
    passed, others = 0, Counter[str]()
    for stage in STAGES:
        for day in days:
            record = get_lake().quality(stage, day)
            for check in record.checks if record else []:
                if check.status == "pass":
                    passed += 1
                else:
                    others[f"{check.status}: {check.table} {check.name} {check.column or ''}".strip()] += 1
    return {"passed": passed, "others": dict(others.most_common())}


def load_features(home: Path, rows: int, count: int, seed: int, tell: Callable[[str], None]) -> None:
    """Load days of logs and feature tables in both engines."""
    days = days_from(FIRST, count)
    threads = cores(get_settings().spark_master)
    tell(f"{count} days of {rows:,} rows: raw days")
    RawDays(rows, seed, bad_rows=False).write(home / "raw", days, threads)
    for job in ("ingest", "features"):
        tell(f"{count} days of {rows:,} rows: {job} in Spark")
        list(submit(job, days[0], days[-1], options=PUBLISH))
    tell(f"{count} days of {rows:,} rows: ingest and features in DuckDB")
    duckdb_steps(home, days[0], days[-1], "ingest", "features", threads=threads)


def measure_recompute(home: Path, tell: Callable[[str], None]) -> Result:
    """Measure the last day of the history from the day before and from all logs, and early days beside it."""
    days = get_lake().days("features")
    day = days[-1]
    threads = cores(get_settings().spark_master)
    nights: dict[int, list[Result]] = {number: [] for number in (*EARLY_NIGHTS, len(days))}
    for _ in range(REPEATS):  # in turns, so that whatever else the machine does falls on all of them
        for number, measured in nights.items():
            tell(f"features of day {number}, from the day before, in Spark")
            measured.append(spark_job("features", days[number - 1], publish=False))
    spark = sorted(nights[len(days)], key=lambda run: run["build_seconds"])[REPEATS // 2]
    tell("features of the last day, from all logs, in Spark")
    spark_full = _spark_recompute(home, day)
    tell("features of the last day, both ways, in DuckDB")
    (daily,), duckdb = duckdb_steps(home, day, day, "features", threads=threads)
    (full,), duckdb_full = duckdb_steps(home, day, day, "recompute_features", threads=threads)
    return {
        "day": str(day),
        "days": len(days),
        "rows": get_lake().require("logs", day, "a benchmark").rows_in,
        "nights": nights,
        "spark": {"incremental": spark, "recompute": spark_full},
        "spark_ratio": round(spark_full["seconds"] / spark["build_seconds"], 2),
        "duckdb": {
            "incremental": duckdb | {"seconds": daily["seconds"]},
            "recompute": duckdb_full | {"seconds": full["seconds"]},
        },
        "duckdb_ratio": round(full["seconds"] / daily["seconds"], 2),
    }


def _spark_recompute(home: Path, day: date) -> Result:
    out = home / "recomputed"
    shutil.rmtree(out, ignore_errors=True)
    raw = sum(map(raw_bytes, get_lake().days("logs")))
    java = driver_java_options("history", raw, get_settings().spark_master)
    command = [str(Path(sys.executable).parent / "spark-submit"), "--master", get_settings().spark_master]
    command += ["--driver-memory", get_settings().spark_driver_memory, "--conf", "spark.log.level=ERROR"]
    command += ["--driver-java-options", java]
    command += [str(PROJECT / "benchmarks/features/spark_recompute.py"), "--day", str(day), "--out", str(out)]
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    with Watch() as watch:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The full recompute of {day} ended with status {done.returncode}:\n{done.stderr[-4000:]}")
    return {**watch.taken, **json.loads(done.stdout.splitlines()[-1])}


def main(
    part: Annotated[list[str], one_of(PARTS)] = PARTS,
    rows: Annotated[list[int], typer.Option(help="rows a day of the jobs, one size or several")] = JOB_ROWS,
    day_rows: Annotated[int, typer.Option(help="rows a day of the long history")] = 100_000,
    days: Annotated[int, typer.Option(help="days of the long history, at least 8")] = 30,
    scenes: Annotated[int, typer.Option(help="scenes of the part `days`, a multiple of five")] = 5,
    seed: int = 17,
    memory: Annotated[str, typer.Option(help="Spark's driver memory, and DuckDB's limit")] = "8g",
    master: Annotated[str, typer.Option(help="Spark's master; DuckDB has as many threads")] = "local[2]",
    home: Annotated[Path | None, typer.Option(help="folder for lakes and raw days; default a temporary one")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="with --home: leave the long history there")] = False,
    out: Out = None,
) -> None:
    """Measure the speed of the Spark jobs beside DuckDB in the selected parts, print tables and write JSON."""
    file = result_file("features", out)
    with (
        tempfile.TemporaryDirectory(prefix="ctr-bench-") as temporary,
        home_of(home or Path(temporary), memory, master, keep=keep, scenes=scenes) as folder,
    ):
        result: Result = {"machine": machine(), "seed": seed, "parts": {}}
        tell: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731

        def save(name: str, measured: Result | list[Result]) -> None:
            result["parts"][name] = measured
            file.write_text(json.dumps(result, indent=1))

        if "jobs" in part:
            sizes = []
            for size in rows:
                sizes.append(measure_jobs(folder, size, seed, tell))
                save("jobs", sizes)
        if "mapped" in part:
            mapped = []
            for size in rows:
                tell(f"{size:,} rows: ingest of several forms")
                mapped.append(measure_mapped(folder, size, seed, FIRST, lambda: spark_job("logs", FIRST)))
                save("mapped", mapped)
        if "days" in part:
            save("days", measure_days(folder, day_rows, days, scenes, seed, tell))
        elif "recompute" in part:
            load_features(folder, day_rows, days, seed, tell)
        if "recompute" in part:
            save("recompute", measure_recompute(folder, tell))
    show(result)
    print(file)


if __name__ == "__main__":
    run_benchmark(main)
