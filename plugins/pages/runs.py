"""The runs of `ctr_daily` by log day, from Airflow's database: their state, the tasks, what did not run because of which."""

import shlex
from collections.abc import Collection
from datetime import date, datetime

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from pydantic import BaseModel, computed_field
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from include.airflow_client import DAG_ID
from include.calendar import day_bounds, log_day_if_known
from include.links import run_page, task_page
from include.schemas import Checked

REDONE_FROM: dict[Checked, str] = {
    "logs": "ingest_logs",
    "features": "build_features",
    "training": "build_training_table",
    "model": "train",
}
"""The task from which a day is run again once the cause of a stage's failure is mended."""


class Task(BaseModel):
    """One task of a run; `page` is the path of its log below Airflow's root, `seconds` how long its last try took."""

    task_id: str
    state: str | None
    seconds: float | None
    tries: int
    page: str


class Run(BaseModel):
    """The latest run of a log day."""

    run_id: str
    run_type: str
    state: str
    page: str
    logical_date: datetime | None
    start: datetime | None
    end: datetime | None
    tasks: list[Task]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def seconds(self) -> float | None:
        """How long it took, None where it has not ended."""
        return (self.end - self.start).total_seconds() if self.start and self.end else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def failed(self) -> list[Task]:
        """The tasks that failed themselves."""
        return [task for task in self.tasks if task.state == "failed"]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def blocked(self) -> list[Task]:
        """The tasks that did not run because of those."""
        return [task for task in self.tasks if task.state == "upstream_failed"]

    def again(self, stage: Checked) -> str | None:
        """The command that runs a stage, and all that follows it, again; None where no command of Airflow's does just that:
        `--task-regex` takes every task whose id holds the text.
        """
        task = REDONE_FROM[stage]
        within_others = any(task in each.task_id and task != each.task_id for each in self.tasks)
        if self.logical_date is None or within_others:
            return None
        at = self.logical_date.isoformat()
        dates = ["--start-date", at, "--end-date", at]
        return shlex.join(["airflow", "tasks", "clear", DAG_ID, "--task-regex", task, "--downstream", *dates, "--yes"])


def latest_runs(session: Session, days: Collection[date]) -> dict[date, Run]:
    """The latest run of each of these log days that has one, with its tasks."""
    if not days:
        return {}
    wanted, rows = set(days), {}
    begins, ends = day_bounds(min(wanted))[0], day_bounds(max(wanted))[1]
    by_interval = and_(DagRun.data_interval_start >= begins, DagRun.data_interval_start < ends)
    by_parameter = DagRun.run_type.not_in(("scheduled", "backfill"))
    began = func.coalesce(DagRun.start_date, DagRun.queued_at, DagRun.run_after)
    query = select(DagRun).where(DagRun.dag_id == DAG_ID, or_(by_interval, by_parameter)).order_by(began, DagRun.id)
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
    return log_day_if_known(run.data_interval_start, (run.conf or {}).get("day"))


def _tasks(session: Session, run_ids: Collection[str]) -> dict[str, list[TaskInstance]]:
    query = select(TaskInstance).where(TaskInstance.dag_id == DAG_ID, TaskInstance.run_id.in_(run_ids))
    found: dict[str, list[TaskInstance]] = {}
    for task in session.scalars(query):
        found.setdefault(task.run_id, []).append(task)
    return found


def _run(run: DagRun, tasks: list[TaskInstance]) -> Run:
    ordered = sorted(tasks, key=lambda task: (_time(task.start_date or task.end_date), task.task_id))
    return Run(
        run_id=run.run_id,
        run_type=str(run.run_type),
        state=str(run.state),
        page=run_page(DAG_ID, run.run_id),
        logical_date=run.logical_date,
        start=run.start_date,
        end=run.end_date,
        tasks=[
            Task(
                task_id=task.task_id,
                state=task.state,
                seconds=task.duration,
                tries=task.try_number,
                page=task_page(DAG_ID, run.run_id, task.task_id),
            )
            for task in ordered
        ],
    )


def _time(moment: datetime | None) -> float:
    return moment.timestamp() if moment else float("inf")
