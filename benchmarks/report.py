"""The tables that `benchmarks.features` prints."""

from typing import Any

from rich.console import Console
from rich.table import Table

Result = dict[str, Any]


def show(result: Result) -> None:
    """Prints a table for each part that was measured."""
    console, parts, told = Console(), result["parts"], result["machine"]
    console.print(
        f"{told['cores']} cores, {told['memory_gib']} GiB, {told['cpu']}; Spark {told['pyspark']}, DuckDB {told['duckdb']}, "
        f"driver memory {told['settings']['spark_driver_memory']}, {told['settings']['spark_master']}, code {told['code']}"
    )
    for size in parts.get("jobs", []):
        console.print(_jobs(size))
    if "days" in parts:
        console.print(_days(parts["days"]))
        checks = parts["days"]["checks"]
        console.print(f"{checks['passed']} checks passed, {sum(checks['others'].values())} did not: {checks['others']}")
    if "recompute" in parts:
        console.print(_recompute(parts["recompute"]))


def _jobs(size: Result) -> Table:
    columns = [
        "wall s",
        "build s",
        "audit s",
        "cpu s",
        "rows/s",
        "peak MiB",
        "DuckDB s",
        "cpu s",
        "peak MiB",
        "build ratio",
        "load",
    ]
    table = _table(
        f"Day 2 of {size['rows']:,} rows: Spark (left) and DuckDB to Parquet without audits (right)", "job", columns
    )
    for job, each in size["jobs"].items():
        spark, duckdb = each["spark"], each["duckdb"]
        table.add_row(
            job,
            f"{spark['wall_seconds']:.1f}",
            f"{spark['build_seconds']:.1f}",
            f"{spark['audit_seconds']:.1f}",
            f"{spark['cpu_seconds']:.0f}",
            f"{size['rows'] / spark['wall_seconds']:,.0f}",
            f"{spark['jvm_peak_mib']:,} + {spark['python_peak_mib']:,}",
            f"{duckdb['build_seconds']:.1f}",
            f"{duckdb['cpu_seconds']:.0f}",
            f"{duckdb['python_peak_mib']:,}",
            f"{each['build_ratio']:.1f}",
            f"{spark['load']:.0f}",
        )
    return table


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


def _table(title: str, first: str, columns: list[str]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in columns:
        table.add_column(name, justify="right")
    return table
