"""The feature pipeline in DuckDB on one machine: the reference for speed and results of the Spark jobs.

    python -m benchmarks.features.duckdb_pipeline --raw RAW --root OUT --from D --to D
        [--steps ingest --steps features --steps training | --steps recompute]

It does the work of the Spark jobs with the same inputs, tables, columns and values, but writes Parquet (DuckDB writes no ORC)
and has no audits. It reads the files of `benchmarks.raw_days`, not every form that ingest accepts: they have the declared
header, no line breaks inside quotes, and at most one field too many; late events are rejected, repairs not applied. Text keys
are DuckDB's own 64-bit hash. Nothing is shared with `spark_jobs`, so that `recompute`, the features of a day straight from all
logs, is an independent reference for the incremental tables.
"""

import json
import shutil
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated

import duckdb
import typer

from benchmarks.features import duckdb_sql as sql
from benchmarks.features import duckdb_training_sql as training_sql
from benchmarks.options import run_benchmark
from include.calendar import days_between, parse_day, previous, window
from include.features import NEUTRAL_CTR, prior_strength
from include.settings import get_settings
from include.stages import SNAPSHOTS

_PAIRS = {"user_item": "item_id", "user_topic": "topic_key"}


class Pipeline:
    """Tables below `root` as `{table}/dt={day}/…parquet`, from raw days below `raw`.

    `recomputed` tables lie below `{root}/recomputed`.
    """

    def __init__(self, root: Path, raw: Path, *, memory: str = "3g", threads: int = 2) -> None:
        self.root = root
        self.raw = raw
        self._connect: Callable[[], duckdb.DuckDBPyConnection] = lambda: duckdb.connect(
            config={
                "threads": threads,
                "memory_limit": memory.upper().removesuffix("B") + "B",
                "temp_directory": str(root / "_tmp"),
            }
        )

    def ingest(self, day: date) -> int:
        """Write `logs` and `quarantine` of a day; return the raw rows."""
        files = sorted(str(path) for path in (self.raw / f"date={day}").glob("*.csv"))
        with self._connect() as base:
            base.execute(sql.raw_table(files, day))
            base.execute(sql.REPEATED)
            self._write(base, sql.logs(), "logs", day, by="scene")
            self._write(base, sql.QUARANTINE, "quarantine", day)
            (rows,) = _first_row(base, "SELECT count(*) FROM raw")
        return int(rows)

    def features(self, day: date) -> None:
        """Write the feature tables of a day from its log, six days of aggregates and yesterday's totals."""
        week = [past for past in window(day)[:-1] if self._has("agg_user", past)]
        with self._connect() as base:
            self._view(base, "log", "logs", [day])
            base.execute("CREATE TEMP TABLE agg_user_item AS " + sql.counts_of_log("user_id", "item_id", "scene"))
            self._write(base, "FROM agg_user_item", "agg_user_item", day)
            self._write(base, sql.TOPICS, "agg_user_topic", day)
            for entity in ("user", "item"):
                base.execute(
                    f"CREATE TEMP TABLE agg_{entity} AS " + sql.summed("agg_user_item", f"{entity}_id", "scene")
                )
                self._write(base, f"FROM agg_{entity}", f"agg_{entity}", day)
                self._view(base, f"earlier_{entity}", f"agg_{entity}", week)
                self._view(base, f"before_{entity}", f"totals_{entity}", [previous(day)])
                base.execute(f"CREATE TEMP TABLE features_{entity} AS " + sql.week_of_aggregates(entity))
                self._write(base, f"FROM features_{entity}", f"features_{entity}", day)
                self._write(base, sql.totals_of_yesterday(entity, day), f"totals_{entity}", day)
            self._write_scenes(base, day)
            self._view(base, "before_items", "items", [previous(day)])
            self._write(base, sql.items_of_yesterday(day), "items", day)
            self._write(base, sql.TEXTS, "texts", day)

    def training(self, day: date) -> None:
        """Write the training rows of a day from its log and the tables of the days before."""
        before = previous(day)
        week = [past for past in window(before) if self._has("agg_user", past)]
        with self._connect() as base:
            self._view(base, "log", "logs", [day])
            for table in SNAPSHOTS:
                self._view(base, table, table, [before] if week else [])
            for pair, key in _PAIRS.items():
                self._view(base, f"agg_{pair}", f"agg_{pair}", week)
                base.execute(f"CREATE VIEW {pair} AS " + training_sql.pairs_of_aggregates(f"agg_{pair}", key))
            self._write_training(base, day, has_history=bool(week))

    def recompute(self, day: date) -> None:
        """Write the feature tables of a day, and its training rows, from all logs so far and nothing else."""
        self._recompute_features(day)
        with self._connect() as base:
            before = previous(day)
            self._view(base, "log", "logs", [day])
            week = [past for past in window(before) if self._has("logs", past)]
            self._recomputed(base, before)
            for table in SNAPSHOTS[:-1]:
                base.execute(f"CREATE TEMP TABLE {table} AS FROM recomputed_{table}")
            base.execute(sql.scene_table(self._scenes(base)))
            self._view(base, "logs_of_week", "logs", week)
            for pair, key in _PAIRS.items():
                base.execute(f"CREATE VIEW {pair} AS " + training_sql.pairs_of_logs(key))
            self._write_training(base, day, has_history=bool(week), folder="recomputed")

    def _recompute_features(self, day: date) -> None:
        with self._connect() as base:
            self._recomputed(base, day)
            self._view(base, "log", "logs", [day])
            for table, keys in {
                "agg_user": "user_id",
                "agg_item": "item_id",
                "agg_user_item": "user_id, item_id",
            }.items():
                self._write(base, sql.counts_of_log(*keys.split(", "), "scene"), table, day, folder="recomputed")
            self._write(base, sql.TOPICS, "agg_user_topic", day, folder="recomputed")
            for table in SNAPSHOTS[:-1]:
                base.execute(f"CREATE TEMP TABLE {table} AS FROM recomputed_{table}")
                self._write(base, f"FROM {table}", table, day, folder="recomputed")
            self._write_scenes(base, day, folder="recomputed")
            self._write(base, sql.ITEMS_OF_LOGS, "items", day, folder="recomputed")
            self._write(base, sql.TEXTS, "texts", day, folder="recomputed")

    def recompute_features(self, day: date) -> None:
        """Write only the feature tables of a day: the cost of a run without incremental tables."""
        self._recompute_features(day)

    def _recomputed(self, base: duckdb.DuckDBPyConnection, day: date) -> None:
        """Create views of the logs so far, and of users and items as of a day, from them alone."""
        days = [past for past in self._days("logs") if past <= day]
        self._view(base, "logs_so_far", "logs", days)
        # A shorter log has nothing to forget, and the benchmark of one no need to look for it.
        forgets = bool(days) and (day - days[0]).days >= get_settings().retention_days
        for entity in ("user", "item"):
            remembered = sql.remembered(entity, day) if forgets else "FROM logs_so_far"
            base.execute(f"CREATE VIEW remembered_{entity} AS {remembered}")
            base.execute(f"CREATE VIEW recomputed_features_{entity} AS " + sql.week_of_logs(entity, day))
            base.execute(f"CREATE VIEW recomputed_totals_{entity} AS " + sql.totals_of_logs(entity))

    def _write_scenes(self, base: duckdb.DuckDBPyConnection, day: date, folder: str = "") -> None:
        base.execute(sql.scene_table(self._scenes(base)))
        self._write(base, "FROM features_scene", "features_scene", day, folder=folder)

    def _scenes(self, base: duckdb.DuckDBPyConnection) -> list[tuple[str, int, int, float, float, float, float]]:
        """Return the rows of `features_scene` from the tables `features_user` and `features_item`."""
        sums = {entity: base.execute(sql.scene_sums(entity)).fetchall() for entity in ("user", "item")}
        k = get_settings().ctr_smoothing
        rows = []
        impressions, clicks = (sum(row[n] for row in sums["item"]) for n in (1, 2))
        prior = (clicks + k * NEUTRAL_CTR) / (impressions + k)
        for n, scene in enumerate(get_settings().scenes):
            _, impressions, clicks, *_ = sums["item"][n]
            user, item = (
                prior_strength(*sums[entity][n], too_few=get_settings().ctr_smoothing) for entity in ("user", "item")
            )
            rows.append((scene, impressions, clicks, (clicks + k * prior) / (impressions + k), prior, user, item))
        return rows

    def _write_training(
        self, base: duckdb.DuckDBPyConnection, day: date, *, has_history: bool, folder: str = ""
    ) -> None:
        if not has_history:
            k = get_settings().ctr_smoothing
            base.execute("DROP TABLE features_scene")
            base.execute(
                sql.scene_table([(scene, 0, 0, NEUTRAL_CTR, NEUTRAL_CTR, k, k) for scene in get_settings().scenes])
            )
        self._write(base, training_sql.training(day), "training", day, folder=folder)

    def _view(self, base: duckdb.DuckDBPyConnection, name: str, table: str, days: list[date]) -> None:
        """Create a view of a table's days, with the day as `dt`; empty if none of them exists."""
        files = [f"{self.root}/{table}/dt={day}/**/*.parquet" for day in days if self._has(table, day)]
        base.execute(
            f"CREATE VIEW {name} AS FROM read_parquet({files}, hive_partitioning = true, "
            "hive_types = {'dt': DATE, 'scene': VARCHAR})"
            if table == "logs" and files
            else f"CREATE VIEW {name} AS FROM read_parquet({files}, hive_partitioning = true, hive_types = {{'dt': DATE}})"
            if files
            else f"CREATE TEMP TABLE {name} ({sql.columns_of(table)}, dt DATE)"
        )

    def _write(
        self, base: duckdb.DuckDBPyConnection, query: str, table: str, day: date, *, by: str = "", folder: str = ""
    ) -> None:
        target = self.root / folder / table / f"dt={day}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        path = target if by else target / "part-0.parquet"
        partitioning = f", PARTITION_BY ({by})" if by else ""
        base.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd{partitioning})")

    def _has(self, table: str, day: date) -> bool:
        return (self.root / table / f"dt={day}").is_dir()

    def _days(self, table: str) -> list[date]:
        return sorted(parse_day(path.name.removeprefix("dt=")) for path in (self.root / table).glob("dt=*"))


def _first_row(base: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = base.execute(query).fetchone()
    assert row is not None
    return row


STEPS = ["ingest", "features", "training"]


def main(
    raw: Annotated[Path, typer.Option(help="folder of the raw days")],
    root: Annotated[Path, typer.Option(help="folder of the tables")],
    first: Annotated[date, typer.Option("--from", parser=parse_day, metavar="DAY")],
    last: Annotated[date, typer.Option("--to", parser=parse_day, metavar="DAY")],
    steps: list[str] = STEPS,
    memory: Annotated[str | None, typer.Option(help="default CTR_SPARK_DRIVER_MEMORY")] = None,
    threads: int = 2,
) -> None:
    """Run steps of the feature pipeline in DuckDB day by day and print a JSON line for each: `{"step", "day", "seconds"}`."""
    root.mkdir(parents=True, exist_ok=True)
    pipeline = Pipeline(root, raw, memory=memory or get_settings().spark_driver_memory, threads=threads)
    for day in days_between(first, last):
        for step in steps:
            started = time.monotonic()
            getattr(pipeline, step)(day)
            seconds = round(time.monotonic() - started, 2)
            print(json.dumps({"step": step, "day": str(day), "seconds": seconds}), flush=True)


if __name__ == "__main__":
    run_benchmark(main)
