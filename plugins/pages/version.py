"""A version of the pages' data: a short text that changes with the lake's records and Airflow's runs."""

import hashlib
import json

from airflow.models.dagrun import DagRun
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from include.days.runs import DAG_ID
from include.lake.lake import Lake
from include.stages import CHECKED

_KINDS = (*(f"quality/{stage}" for stage in CHECKED), "train", "evaluation", "decision", "monitor", "wait")


def version_of(store: Lake, session: Session) -> str:
    """Return a hash of the time of each record and of the newest change of a run."""
    stamps = {kind: {str(day): stamp for day, stamp in store.record_stamps(kind).items()} for kind in _KINDS}
    runs = session.execute(select(func.count(), func.max(DagRun.updated_at)).where(DagRun.dag_id == DAG_ID)).one()
    content = json.dumps([stamps, *map(str, runs)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
