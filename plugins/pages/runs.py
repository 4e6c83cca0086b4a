"""The runs of `ctr_daily` by log day, from Airflow's database: their state, the tasks, what did not run because of which."""

import shlex
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select
from sqlalchemy.orm import Session

from include.calendar import log_day
from include.errors import InvalidInputError
from include.links import run_page, task_page
from include.schemas import Checked

DAG_ID = "ctr_daily"
REDONE_FROM: dict[Checked, str] = {
    "logs": "ingest_logs",
    "features": "build_features",
    "training": "build_training_table",
}
"""The task from which a day is run again once the cause of a stage's failure is mended. Airflow's `--task-regex` looks for it
within the ids of all tasks, and `train`, from which a model is made again, is within others."""


@dataclass(frozen=True)
class Task:
    """One task of a run; `page` is the path of its log below Airflow's root, `seconds` how long its last try took."""

    task_id: str
    state: str | None
    seconds: float | None
    tries: int
    page: str


@dataclass(frozen=True)
class Run:
    """The latest run of a log day."""

    run_id: str
    run_type: str
    state: str
    page: str
    logical_date: datetime | None
    start: datetime | None
    end: datetime | None
    tasks: list[Task] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """How long it took, None where it has not ended."""
        return (self.end - self.start).total_seconds() if self.start and self.end else None

    @property
    def failed(self) -> list[Task]:
        """The tasks that failed themselves."""
        return [task for task in self.tasks if task.state == "failed"]

    @property
    def blocked(self) -> list[Task]:
        """The tasks that did not run because of those."""
        return [task for task in self.tasks if task.state == "upstream_failed"]

    def again(self, stage: Checked) -> str | None:
        """The command that runs a stage, and all that follows it, again; None where no command of Airflow's does just that."""
        task = REDONE_FROM.get(stage)
        if self.logical_date is None or task is None:
            return None
        at = self.logical_date.isoformat()
        dates = ["--start-date", at, "--end-date", at]
        return shlex.join(["airflow", "tasks", "clear", DAG_ID, "--task-regex", task, "--downstream", *dates, "--yes"])


def latest_runs(session: Session, days: Collection[date]) -> dict[date, Run]:
    """The latest run of each of these log days that has one, with its tasks."""
    if not days:
        return {}
    wanted, rows = set(days), {}
    earliest = datetime.combine(min(wanted), datetime.min.time(), UTC)
    # No run of a day starts before the day.
    query = select(DagRun).where(DagRun.dag_id == DAG_ID, DagRun.run_after >= earliest).order_by(DagRun.run_after)
    for run in session.scalars(query):
        if (day := run_day(run)) in wanted:
            rows[day] = run
    tasks = _tasks(session, [run.run_id for run in rows.values()])
    return {day: _run(run, tasks.get(run.run_id, [])) for day, run in rows.items()}


def day_of_run(session: Session, dag_id: str, run_id: str) -> date | None:
    """The log day of a run of `ctr_daily`; None for other DAGs, unknown runs and runs without a log day."""
    if dag_id != DAG_ID:
        return None
    run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return run_day(run) if run else None


def run_day(run: DagRun) -> date | None:
    """The log day of a run, None where it has none."""
    try:
        return log_day(run.data_interval_start, (run.conf or {}).get("day"))
    except InvalidInputError:
        return None


def _tasks(session: Session, run_ids: Collection[str]) -> dict[str, list[TaskInstance]]:
    query = select(TaskInstance).where(TaskInstance.dag_id == DAG_ID, TaskInstance.run_id.in_(run_ids))
    found: dict[str, list[TaskInstance]] = {}
    for task in session.scalars(query):
        found.setdefault(task.run_id, []).append(task)
    return found


def _run(run: DagRun, tasks: list[TaskInstance]) -> Run:
    ordered = sorted(tasks, key=lambda task: (_time(task.start_date or task.end_date), task.task_id))
    return Run(
        run.run_id,
        str(run.run_type),
        str(run.state),
        run_page(DAG_ID, run.run_id),
        run.logical_date,
        run.start_date,
        run.end_date,
        [
            Task(task.task_id, task.state, task.duration, task.try_number, task_page(DAG_ID, run.run_id, task.task_id))
            for task in ordered
        ],
    )


def _time(moment: datetime | None) -> float:
    return moment.timestamp() if moment else float("inf")
