"""The tables that `benchmarks.features.speed` prints."""

import statistics
from typing import Any

from rich.table import Table

from benchmarks.machine import console

Result = dict[str, Any]
_LINES = (
    ("wall, seconds", "wall_seconds", ".1f"),
    ("of it build", "build_seconds", ".1f"),
    ("of it audit", "audit_seconds", ".1f"),
    ("processor, seconds", "cpu_seconds", ".0f"),
    ("peak of JVM, MiB", "jvm_peak_mib", ",d"),
    ("peak of Python, MiB", "python_peak_mib", ",d"),
    ("load before", "load", ".1f"),
)


def show(result: Result) -> None:
    """Print a table for each part that was measured."""
    parts = result["parts"]
    host = result["machine"]
    out = console(150, highlight=True)
    out.print(
        f"{host['cores']} cores, {host['memory_gib']} GiB, {host['cpu']}; Spark {host['pyspark']}, DuckDB {host['duckdb']}, "
        f"driver memory {host['settings']['spark_driver_memory']}, {host['settings']['spark_master']}, code {host['code']}"
    )
    for size in parts.get("jobs", []):
        out.print(_jobs(size))
    for size in parts.get("mapped", []):
        out.print(_mapped(size))
    if "days" in parts:
        out.print(_days(parts["days"]))
        checks = parts["days"]["checks"]
        out.print(f"{checks['passed']} checks passed, {sum(checks['others'].values())} did not: {checks['others']}")
    if "recompute" in parts:
        out.print(_recompute(parts["recompute"]))
        out.print(_nights(parts["recompute"]))


def _jobs(size: Result) -> Table:
    columns = [f"{job}: {engine}" for job in size["jobs"] for engine in ("Spark", "DuckDB")]
    title = (
        f"Day 2 of {size['rows']:,} rows ({size['raw_day_mib']:,} MiB of CSV); DuckDB writes Parquet and has no audits"
    )
    table = _table(title, "", columns)
    sides = [job[engine] for job in size["jobs"].values() for engine in ("spark", "duckdb")]
    for label, name, form in _LINES:
        table.add_row(label, *(format(side[name], form) if name in side else "" for side in sides))
    table.add_row("rows a second", *(f"{size['rows'] / side['wall_seconds']:,.0f}" for side in sides))
    for label, name in (("build, times DuckDB", "build_ratio"), ("processor, times DuckDB", "cpu_ratio")):
        table.add_row(label, *(text for job in size["jobs"].values() for text in (f"{job[name]:.1f}", "")))
    return table


def _mapped(size: Result) -> Table:
    """Return a table of medians; the JSON has all runs."""
    names = ("build_seconds", "wall_seconds", "cpu_seconds")
    title = f"Ingest of {size['rows']:,} rows, medians of {len(next(iter(size['runs'].values())))}"
    table = _table(title, "form", ["MiB", *names, "rows a second", "build, times unmapped"])
    for form, median in size["medians"].items():
        table.add_row(
            form,
            f"{size['raw_mib'][form]:,}",
            *(f"{median[name]:.1f}" for name in names),
            f"{size['rows'] / median['wall_seconds']:,.0f}",
            f"{size['ratio'][form]:.2f}",
        )
    return table


def _days(history: Result) -> Table:
    early, late = f"days {history['early_days']}", f"days {history['late_days']}"
    columns = [early, late, "ratio", f"audit {early}", late, f"DuckDB {early}", late, "ratio"]
    whole = history["spark"]
    title = (
        f"Median seconds of a day of {history['rows']:,} rows, {history['scenes']} scenes, in one history, two steps at a time; "
        f"{len(history['days'])} days: {whole['wall_seconds']:.0f} s, processor {whole['cpu_seconds']:.0f} s"
    )
    table = _table(title, "job", columns)
    for job, engines in history["medians"].items():
        build, audit, duckdb = (engines[name] for name in ("spark_build", "spark_audit", "duckdb"))
        table.add_row(
            job,
            *(f"{build[when]:.2f}" for when in ("early", "late", "ratio")),
            *(f"{audit[when]:.2f}" for when in ("early", "late")),
            *(f"{duckdb[when]:.2f}" for when in ("early", "late", "ratio")),
        )
    return table


def _recompute(measured: Result) -> Table:
    table = _table(
        f"Features of {measured['day']}: from the day before, and from all logs",
        "engine",
        ["incremental s", "cpu s", "all logs s", "cpu s", "ratio", "rows that differ"],
    )
    for engine, seconds in (("spark", "build_seconds"), ("duckdb", "seconds")):
        incremental = measured[engine]["incremental"]
        all_logs = measured[engine]["recompute"]
        table.add_row(
            engine,
            f"{incremental[seconds]:.1f}",
            f"{incremental['cpu_seconds']:.0f}",
            f"{all_logs['seconds']:.1f}",
            f"{all_logs['cpu_seconds']:.0f}",
            f"{measured[f'{engine}_ratio']:.1f}",
            str(all_logs.get("differences", "")),
        )
    return table


def _nights(measured: Result) -> Table:
    """Return a table of medians; the JSON has all runs."""
    names = ("build_seconds", "cpu_seconds", "wall_seconds", "audit_seconds")
    table = _table(f"A night's feature job on {measured['rows']:,} rows, by age of the lake", "day", [*names])
    medians = {
        day: {name: statistics.median(run[name] for run in runs) for name in names}
        for day, runs in measured["nights"].items()
    }
    first = next(iter(medians.values()))
    for day, median in medians.items():
        table.add_row(str(day), *(f"{median[name]:.1f} (x {median[name] / first[name]:.2f})" for name in names))
    return table


def _table(title: str, first: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table
