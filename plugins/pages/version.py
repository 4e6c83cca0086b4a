"""A version of the pages' data: a short text that changes with the lake's records and Airflow's runs."""

import hashlib
import json

from airflow.models.dagrun import DagRun
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from include.days.runs import DAG_ID
from include.lake.lake import Lake
from include.records import Decision, Evaluation, Monitor, Quality, Train, Wait
from include.stages import CHECKED

_FOLDERS = (
    *(f"{Quality.kind}/{stage}" for stage in CHECKED),
    *(kind.kind for kind in (Train, Evaluation, Decision, Monitor, Wait)),
)


def version_of(lake: Lake, session: Session) -> str:
    """Return a hash of the time of each record and of the newest change of a run."""
    stamps = {folder: {str(day): stamp for day, stamp in lake.record_stamps(folder).items()} for folder in _FOLDERS}
    runs = session.execute(select(func.count(), func.max(DagRun.updated_at)).where(DagRun.dag_id == DAG_ID)).one()
    content = json.dumps([stamps, *map(str, runs)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
