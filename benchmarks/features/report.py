"""The tables that `benchmarks.features.speed` prints."""

import statistics
from typing import Any

from rich.table import Table

from benchmarks.machine import console

Result = dict[str, Any]


def show(result: Result) -> None:
    """Prints a table for each part that was measured."""
    parts, told = result["parts"], result["machine"]
    out = console(150, highlight=True)
    out.print(
        f"{told['cores']} cores, {told['memory_gib']} GiB, {told['cpu']}; Spark {told['pyspark']}, DuckDB {told['duckdb']}, "
        f"driver memory {told['settings']['spark_driver_memory']}, {told['settings']['spark_master']}, code {told['code']}"
    )
    for size in parts.get("jobs", []):
        out.print(_jobs(size))
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
    sides = [each[engine] for each in size["jobs"].values() for engine in ("spark", "duckdb")]
    for label, name, form in _LINES:
        table.add_row(label, *(format(side[name], form) if name in side else "" for side in sides))
    table.add_row("rows a second", *(f"{size['rows'] / side['wall_seconds']:,.0f}" for side in sides))
    for label, name in (("build, times DuckDB", "build_ratio"), ("processor, times DuckDB", "cpu_ratio")):
        table.add_row(label, *(text for each in size["jobs"].values() for text in (f"{each[name]:.1f}", "")))
    return table


_LINES = (
    ("wall, seconds", "wall_seconds", ".1f"),
    ("of it build", "build_seconds", ".1f"),
    ("of it audit", "audit_seconds", ".1f"),
    ("processor, seconds", "cpu_seconds", ".0f"),
    ("peak of JVM, MiB", "jvm_peak_mib", ",d"),
    ("peak of Python, MiB", "python_peak_mib", ",d"),
    ("load before", "load", ".1f"),
)


def _days(found: Result) -> Table:
    early, late = f"days {found['early_days']}", f"days {found['late_days']}"
    columns = [early, late, "ratio", f"audit {early}", late, f"DuckDB {early}", late, "ratio"]
    title = f"Median seconds of a day of {found['rows']:,} rows in one history, two steps at a time"
    table = _table(title, "job", columns)
    for job, engines in found["medians"].items():
        build, audit, duckdb = (engines[name] for name in ("spark_build", "spark_audit", "duckdb"))
        table.add_row(
            job,
            *(f"{build[when]:.2f}" for when in ("early", "late", "ratio")),
            *(f"{audit[when]:.2f}" for when in ("early", "late")),
            *(f"{duckdb[when]:.2f}" for when in ("early", "late", "ratio")),
        )
    return table


def _recompute(found: Result) -> Table:
    table = _table(
        f"Features of {found['day']}: from the day before, and from all logs",
        "engine",
        ["incremental s", "cpu s", "all logs s", "cpu s", "ratio", "rows that differ"],
    )
    for engine, seconds in (("spark", "build_seconds"), ("duckdb", "seconds")):
        one, all_logs = found[engine]["incremental"], found[engine]["recompute"]
        table.add_row(
            engine,
            f"{one[seconds]:.1f}",
            f"{one['cpu_seconds']:.0f}",
            f"{all_logs['seconds']:.1f}",
            f"{all_logs['cpu_seconds']:.0f}",
            f"{found[f'{engine}_ratio']:.1f}",
            str(all_logs.get("differences", "")),
        )
    return table


def _nights(found: Result) -> Table:
    """Medians; JSON has all runs."""
    names = ("build_seconds", "cpu_seconds", "wall_seconds", "audit_seconds")
    table = _table(f"A night's feature job on {found['rows']:,} rows, by age of the lake", "day", [*names])
    medians = {
        day: {name: statistics.median(run[name] for run in runs) for name in names}
        for day, runs in found["nights"].items()
    }
    first = next(iter(medians.values()))
    for day, of in medians.items():
        table.add_row(str(day), *(f"{of[name]:.1f} (x {of[name] / first[name]:.2f})" for name in names))
    return table


def _table(title: str, first: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table
