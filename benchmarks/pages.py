"""Speed of the pages in Airflow's UI: milliseconds of each page over a long history, the first time and afterwards.

    python -m benchmarks.pages [--days 400] [--checks 60] [--runs 20]

The history is made up: quality records of all stages, manifests, monitored figures and a run of each day. Requests run
in this process, with Airflow's tables in SQLite and without its login, which costs the same for every page. *First* is a server
that has just started and has no record cached.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, get_args

import typer
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dagrun import DagRun
from airflow.utils.state import DagRunState
from fastapi.testclient import TestClient
from rich.table import Table
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from benchmarks.machine import console, machine, result_file
from benchmarks.options import Out, run_benchmark
from include.checks import Measure, check_result
from include.days.runs import DAG_ID
from include.lake.lake import get_lake
from include.lake.manifest import Manifest, TableVersion
from include.metrics_records import ColumnDrift, Drift, Estimate, Figures, Freshness
from include.records import Monitor, Quality
from include.settings import get_settings
from include.stages import CHECKED, STAGES
from plugins.pages import app as pages

LAST = date(2026, 6, 30)
EXPECTED = "0.5 to 2 times the trailing 0.1134"


def fill(days: Sequence[date], checks: int) -> None:
    """Write quality records of `checks` checks a day (one in 50 does not pass, two never do), manifests and figures."""
    lake = get_lake()
    estimate = Estimate(value=0.75, low=0.74, high=0.76)
    names = ("auc", "scene_mean_gauc", "log_loss", "pcoc", "ece")
    figures = Figures(all=dict.fromkeys(names, estimate), scenes={})
    means = dict.fromkeys(("null_then", "null_now", "mean_then", "mean_now"))
    column = ColumnDrift(name="", psi=None, band="insufficient", **means)
    bounds = {"moved_from": 0.1, "shifted_from": 0.25}
    drift = Drift(
        reference=[], rows_then=0, rows_now=1, note=None, **bounds, features=[], label=column, predictions=column
    )
    fresh = Freshness(published={}, model_age_days=None, raw_arrived_at=None, seconds_since_raw=None)
    for number, day in enumerate(days):
        for offset, stage in enumerate(CHECKED):
            records = [
                check_result(
                    f"table_{n % 7}",
                    f"expect_something_{n}",
                    (number + n) % 50 > 0 and n > 1,  # two warnings are chronic
                    EXPECTED,
                    "CTR 0.1173",
                    severity="warning",
                    measure=Measure(0.1173, 0.05, 0.22, "rate"),
                )
                for n in range(offset, checks, len(CHECKED))
            ]
            lake.write_record(Quality(stage=stage, day=day, build="b", rows=1, status="pass", checks=records))
        for stage in STAGES:
            manifest = Manifest(stage, str(day), "b", {"t": TableVersion("p", 1, 1, "s")}, 1, {}, "c", "s")
            lake.write_json(
                f"_manifests/{stage}/dt={day}.json", vars(manifest) | {"tables": {"t": vars(manifest.tables["t"])}}
            )
        lake.write_record(
            Monitor(
                day=day,
                rows=1,
                champion=None,
                metrics=figures,
                metrics_note=None,
                change=None,
                drift=drift,
                freshness=fresh,
                created_at="",
                alerts=[],
                seconds=0,
            )
        )


@contextmanager
def server(days: Sequence[date]) -> Iterator[TestClient]:
    """Serve the pages' app with Airflow's tables in memory, one run a day, and no login."""
    engine = create_engine("sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool)
    import_all_models()
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for day in days:
            start = datetime(day.year, day.month, day.day, tzinfo=UTC)
            after = start + timedelta(days=1)
            session.add(
                DagRun(
                    dag_id=DAG_ID,
                    run_id=f"scheduled__{after.isoformat()}",
                    run_type="scheduled",
                    state=DagRunState.SUCCESS,
                    logical_date=start,
                    data_interval=(start, after),
                    run_after=after,
                )
            )
        session.commit()
        (database,) = get_args(SessionDep)[1:]
        overrides: dict[Any, Any] = {lock.dependency: lambda: None for lock in pages.LOCKED}
        pages.app.dependency_overrides = overrides | {database.dependency: lambda: session}
        with TestClient(pages.app) as client:
            yield client
        pages.app.dependency_overrides = {}


def measure(client: TestClient, path: str, runs: int) -> dict[str, Any]:
    """Measure the milliseconds of the first response, the median of the others, and the size of the page."""
    pages.records.cache_clear()
    taken = []
    size = 0
    for _ in range(runs + 1):
        start = time.perf_counter()
        response = client.get(path)
        taken.append(1000 * (time.perf_counter() - start))
        response.raise_for_status()
        size = len(response.content)
    return {"path": path, "first_ms": taken[0], "median_ms": statistics.median(taken[1:]), "kib": size / 1024}


def main(
    days: int = 400,
    checks: int = 60,
    runs: Annotated[int, typer.Option(help="requests of each page after the first")] = 20,
    out: Out = None,
) -> None:
    """Measure the speed of the pages in Airflow's UI over a made-up history, print a table and write JSON."""
    history = [LAST - timedelta(days=n) for n in range(days)][::-1]
    with tempfile.TemporaryDirectory() as home:
        os.environ["CTR_HOME"] = home
        get_settings.cache_clear()
        fill(history, checks)
        grid = f"/quality?days={days}"
        with server(history) as client:
            client.get("/openapi.json")  # imports and templates are the server's start
            results = [
                measure(client, path, runs)
                for path in (
                    f"{grid}&every=true",
                    grid,
                    "/quality",
                    f"/quality/day?day={LAST}",
                    "/models?days=400",
                    "/days",
                )
            ]
    table = Table(title=f"{days} days × {checks} checks, in-process, local files")
    for name in ("page", "first, ms", "median, ms", "KiB"):
        table.add_column(name, justify="left" if name == "page" else "right")
    for row in results:
        table.add_row(row["path"], f"{row['first_ms']:.0f}", f"{row['median_ms']:.0f}", f"{row['kib']:,.0f}")
    console().print(table)
    file = result_file("pages", out)
    options = {"days": days, "checks": checks, "runs": runs}
    file.write_text(json.dumps({"machine": machine(), **options, "pages": results}, indent=1))
    console().print(f"Written to {file}")


if __name__ == "__main__":
    run_benchmark(main)
