"""A lake with records, Airflow's tables in memory, and the pages' app with somebody logged in."""

from datetime import UTC, datetime, timedelta

import pytest
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dagrun import DagRun
from fastapi.testclient import TestClient
from sample_records import quality
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from include.lake.lenient_lake import get_lenient_lake
from plugins.pages import app as pages


@pytest.fixture
def lake(home):
    yield get_lenient_lake()
    pages.records.cache_clear()
    pages.planner.cache_clear()


@pytest.fixture
def write(lake):
    """Writes the quality record of a stage's day: `write("logs", day, check(…), …)`."""

    return lambda stage, day, *checks: lake.write_record(quality(stage, day, *checks))


@pytest.fixture
def session():
    """Airflow's database, empty."""
    engine = create_engine("sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool)
    import_all_models()
    Base.metadata.create_all(engine)
    with Session(engine) as opened:
        yield opened


@pytest.fixture
def run(session):
    """Adds a run of `ctr_daily` for a log day."""

    def added(day, state="failed", hours=0, **more):
        start = datetime(day.year, day.month, day.day, tzinfo=UTC)
        after = start + timedelta(days=1, hours=hours)
        values = {"run_id": f"backfill__{after.isoformat()}", "logical_date": start, "data_interval": (start, after)}
        values |= {"run_type": "backfill", "run_after": after, "start_date": after}
        added_run = DagRun(dag_id="ctr_daily", state=state, **(values | more))
        session.add(added_run)
        session.commit()
        return added_run

    return added


@pytest.fixture
def client(lake, session):
    """A browser of somebody who is logged in and may see the pages."""
    overrides = {lock.dependency: lambda: None for lock in pages.LOCKED} | {
        SessionDep.__metadata__[0].dependency: lambda: session
    }
    pages.app.dependency_overrides.update(overrides)
    with TestClient(pages.app, headers={"Accept": "text/html"}, raise_server_exceptions=False) as opened:
        yield opened
    pages.app.dependency_overrides.clear()
