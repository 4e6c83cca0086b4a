"""The feature pipeline in DuckDB on one machine: what the Spark jobs are measured against, and checked against.

    python -m benchmarks.features.duckdb_pipeline --raw RAW --root OUT --from D --to D
        [--steps ingest features training | recompute]

It does the work of the Spark jobs with the same inputs, tables, columns and values, but writes Parquet (DuckDB writes no ORC)
and has no audits. It takes what `benchmarks.raw_days` writes, not every form that ingest takes: files have the declared
header, no line breaks inside quotes, and at most one field too many; late events are rejected, repairs unknown. Text keys are
DuckDB's own 64-bit hash. Nothing is shared with `spark_jobs`, so that `recompute`, the features of a day straight from all
logs, is an independent reference for the incremental tables.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb

from benchmarks.features import duckdb_sql as sql
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
        self.root, self.raw = root, raw
        self._connect: Callable[[], duckdb.DuckDBPyConnection] = lambda: duckdb.connect(
            config={
                "threads": threads,
                "memory_limit": memory.upper().removesuffix("B") + "B",
                "temp_directory": str(root / "_tmp"),
            }
        )

    def ingest(self, day: date) -> int:
        """Writes `logs` and `quarantine` of a day; returns the raw rows."""
        files = sorted(str(path) for path in (self.raw / f"date={day}").glob("*.csv"))
        with self._connect() as base:
            base.execute(sql.raw_table(files, day))
            base.execute(sql.REPEATED)
            self._write(base, sql.logs(), "logs", day, by="scene")
            self._write(base, sql.QUARANTINE, "quarantine", day)
            (rows,) = _row(base, "SELECT count(*) FROM raw")
        return int(rows)

    def features(self, day: date) -> None:
        """Writes the feature tables of a day from its log, six days of aggregates and yesterday's totals."""
        week = [past for past in window(day)[:-1] if self._has("agg_user", past)]
        with self._connect() as base:
            self._view(base, "log", "logs", [day])
            base.execute("CREATE TEMP TABLE agg_user_item AS " + sql.counts_of_log("user_id", "item_id", "scene"))
            self._write(base, "FROM agg_user_item", "agg_user_item", day)
            self._write(base, sql.TOPICS, "agg_user_topic", day)
            for who in ("user", "item"):
                base.execute(f"CREATE TEMP TABLE agg_{who} AS " + sql.summed("agg_user_item", f"{who}_id", "scene"))
                self._write(base, f"FROM agg_{who}", f"agg_{who}", day)
                self._view(base, f"earlier_{who}", f"agg_{who}", week)
                self._view(base, f"before_{who}", f"totals_{who}", [previous(day)])
                base.execute(f"CREATE TEMP TABLE features_{who} AS " + sql.week_of_aggregates(who))
                self._write(base, f"FROM features_{who}", f"features_{who}", day)
                self._write(base, sql.totals_of_yesterday(who, day), f"totals_{who}", day)
            self._write_scenes(base, day)
            self._view(base, "before_items", "items", [previous(day)])
            self._write(base, sql.items_of_yesterday(day), "items", day)
            self._write(base, sql.TEXTS, "texts", day)

    def training(self, day: date) -> None:
        """Writes the training rows of a day from its log and the tables of the days before."""
        before = previous(day)
        week = [past for past in window(before) if self._has("agg_user", past)]
        with self._connect() as base:
            self._view(base, "log", "logs", [day])
            for table in SNAPSHOTS:
                self._view(base, table, table, [before] if week else [])
            for pair, key in _PAIRS.items():
                self._view(base, f"agg_{pair}", f"agg_{pair}", week)
                base.execute(f"CREATE VIEW {pair} AS " + sql.pairs_of_aggregates(f"agg_{pair}", key))
            self._write_training(base, day, known=bool(week))

    def recompute(self, day: date) -> None:
        """Writes the feature tables of a day, and its training rows, from all logs so far and nothing else."""
        if (day - self._days("logs")[0]).days >= get_settings().retention_days:
            raise ValueError(
                "A full recompute does not know how keys are forgotten: have fewer days than the retention."
            )
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
                base.execute(f"CREATE VIEW {pair} AS " + sql.pairs_of_logs(key))
            self._write_training(base, day, known=bool(week), folder="recomputed")

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
        """Writes the feature tables of a day alone: what a run would cost that keeps nothing from day to day."""
        self._recompute_features(day)

    def _recomputed(self, base: duckdb.DuckDBPyConnection, day: date) -> None:
        """Views of the logs so far, and of users and items as of a day, from them alone."""
        self._view(base, "logs_so_far", "logs", [past for past in self._days("logs") if past <= day])
        for who in ("user", "item"):
            base.execute(f"CREATE VIEW recomputed_features_{who} AS " + sql.week_of_logs(who, day))
            base.execute(f"CREATE VIEW recomputed_totals_{who} AS " + sql.totals_of_logs(who))

    def _write_scenes(self, base: duckdb.DuckDBPyConnection, day: date, folder: str = "") -> None:
        base.execute(sql.scene_table(self._scenes(base)))
        self._write(base, "FROM features_scene", "features_scene", day, folder=folder)

    def _scenes(self, base: duckdb.DuckDBPyConnection) -> list[tuple[str, int, int, float, float, float, float]]:
        """Rows of `features_scene` from the tables `features_user` and `features_item`."""
        sums = {who: base.execute(sql.scene_sums(who)).fetchall() for who in ("user", "item")}
        k, rows = get_settings().ctr_smoothing, []
        shown, clicked = (sum(row[n] for row in sums["item"]) for n in (1, 2))
        prior = (clicked + k * NEUTRAL_CTR) / (shown + k)
        for n, scene in enumerate(get_settings().scenes):
            _, impressions, clicks, *_ = sums["item"][n]
            user, item = (prior_strength(*sums[who][n]) for who in ("user", "item"))
            rows.append((scene, impressions, clicks, (clicks + k * prior) / (impressions + k), prior, user, item))
        return rows

    def _write_training(self, base: duckdb.DuckDBPyConnection, day: date, *, known: bool, folder: str = "") -> None:
        if not known:
            k = get_settings().ctr_smoothing
            base.execute("DROP TABLE features_scene")
            base.execute(
                sql.scene_table([(scene, 0, 0, NEUTRAL_CTR, NEUTRAL_CTR, k, k) for scene in get_settings().scenes])
            )
        self._write(base, sql.training(day), "training", day, folder=folder)

    def _view(self, base: duckdb.DuckDBPyConnection, name: str, table: str, days: list[date]) -> None:
        """A view of a table's days, with the day as `dt`; without rows where none of them is there."""
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
        where, how = (target, f", PARTITION_BY ({by})") if by else (target / "part-0.parquet", "")
        base.execute(f"COPY ({query}) TO '{where}' (FORMAT parquet, COMPRESSION zstd{how})")

    def _has(self, table: str, day: date) -> bool:
        return (self.root / table / f"dt={day}").is_dir()

    def _days(self, table: str) -> list[date]:
        return sorted(parse_day(path.name.removeprefix("dt=")) for path in (self.root / table).glob("dt=*"))


def _row(base: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = base.execute(query).fetchone()
    assert row is not None
    return row


def main(argv: list[str] | None = None) -> None:
    """Runs the steps of each day in order and prints a JSON line for each: `{"step", "day", "seconds"}`."""
    parser = argparse.ArgumentParser(description="The feature pipeline in DuckDB.")
    parser.add_argument("--raw", type=Path, required=True, help="folder of the raw days")
    parser.add_argument("--root", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--from", dest="first", type=parse_day, required=True)
    parser.add_argument("--to", dest="last", type=parse_day, required=True)
    parser.add_argument("--steps", nargs="+", default=["ingest", "features", "training"])
    parser.add_argument("--memory", default=get_settings().spark_driver_memory)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)
    arguments.root.mkdir(parents=True, exist_ok=True)
    pipeline = Pipeline(arguments.root, arguments.raw, memory=arguments.memory, threads=arguments.threads)
    for day in days_between(arguments.first, arguments.last):
        for step in arguments.steps:
            started = time.monotonic()
            getattr(pipeline, step)(day)
            seconds = round(time.monotonic() - started, 2)
            print(json.dumps({"step": step, "day": str(day), "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
