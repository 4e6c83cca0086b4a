"""The runs of `ctr_daily` by log day, from Airflow's database: state, tasks, and what blocks a queued run."""

from collections.abc import Collection, Sequence
from datetime import date, datetime

from airflow.models.backfill import Backfill
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from include.calendar import day_bounds, log_day_if_known
from include.days.runs import DAG_ID, Hindrance, Run, Task
from include.orchestration.links import run_page, task_page


def latest_runs(session: Session, days: Collection[date]) -> dict[date, Run]:
    """Return the latest run, with its tasks, of each of these log days that has one."""
    if not days:
        return {}
    requested = set(days)
    latest = {}
    begins = day_bounds(min(requested))[0]
    ends = day_bounds(max(requested))[1]
    by_interval = and_(DagRun.data_interval_start >= begins, DagRun.data_interval_start < ends)
    by_parameter = DagRun.run_type.not_in(("scheduled", "backfill"))
    started = func.coalesce(DagRun.start_date, DagRun.queued_at, DagRun.run_after)
    query = select(DagRun).where(DagRun.dag_id == DAG_ID, or_(by_interval, by_parameter)).order_by(started, DagRun.id)
    for run in session.scalars(query):
        if (day := run_day(run)) in requested:
            latest[day] = run
    tasks = _tasks(session, [run.run_id for run in latest.values()])
    hindrances = _hindrances(session, [run for run in latest.values() if run.state == "queued"])
    return {day: _run(run, tasks.get(run.run_id, []), hindrances.get(run.run_id)) for day, run in latest.items()}


def unfinished_days(session: Session) -> set[date]:
    """Return the log days with a queued or running run."""
    return {day for run in _unfinished(session) if (day := run_day(run))}


def days_under_way(session: Session) -> set[date]:
    """Return the log days with a run that is running, or is queued and will start."""
    stuck = stuck_runs(session)
    return {day for run in _unfinished(session) if run.run_id not in stuck and (day := run_day(run))}


def stuck_runs(session: Session) -> dict[str, date]:
    """Return the queued runs of cancelled backfills, which Airflow never starts, by run id with their log day."""
    queued = [run for run in _unfinished(session) if run.state == "queued"]
    hindrances = _hindrances(session, queued)
    stuck = (run for run in queued if hindrances.get(run.run_id) == "cancelled backfill")
    return {run.run_id: day for run in stuck if (day := run_day(run))}


def _unfinished(session: Session) -> Sequence[DagRun]:
    return session.scalars(select(DagRun).where(DagRun.dag_id == DAG_ID, DagRun.state.in_(("queued", "running")))).all()


def day_of_run(session: Session, dag_id: str, run_id: str) -> date | None:
    """Return the log day of a run of `ctr_daily`; None for other DAGs, unknown runs and runs without a log day."""
    if dag_id != DAG_ID:
        return None
    run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    return run_day(run) if run else None


def run_day(run: DagRun) -> date | None:
    """Return the log day of a run, None where it has none; a backfill with the parameter `day` failed for its range's day."""
    explicit = None if run.run_type == "backfill" else (run.conf or {}).get("day")
    return log_day_if_known(run.data_interval_start, explicit)


def _tasks(session: Session, run_ids: Collection[str]) -> dict[str, list[TaskInstance]]:
    query = select(TaskInstance).where(TaskInstance.dag_id == DAG_ID, TaskInstance.run_id.in_(run_ids))
    by_run: dict[str, list[TaskInstance]] = {}
    for task in session.scalars(query):
        by_run.setdefault(task.run_id, []).append(task)
    return by_run


def _hindrances(session: Session, queued: Collection[DagRun]) -> dict[str, Hindrance]:
    """Return what keeps the scheduler from starting these queued runs; it never starts those of a cancelled backfill."""
    if not queued:
        return {}
    ids = {run.backfill_id for run in queued if run.backfill_id is not None}
    # Airflow leaves a cancelled backfill paused for ever.
    paused = {
        backfill.id: backfill
        for backfill in session.scalars(select(Backfill).where(Backfill.id.in_(ids), Backfill.is_paused.is_(True)))
    }
    hindrances: dict[str, Hindrance] = {}
    for run in queued:
        if backfill := paused.get(run.backfill_id or 0):
            hindrances[run.run_id] = "cancelled backfill" if backfill.completed_at else "paused backfill"
        elif session.scalar(select(DagModel.is_paused).where(DagModel.dag_id == DAG_ID)):
            hindrances[run.run_id] = "paused DAG"
    return hindrances


def _run(run: DagRun, tasks: list[TaskInstance], hindrance: Hindrance | None) -> Run:
    ordered = sorted(tasks, key=lambda task: (_time(task.start_date or task.end_date), task.task_id))
    return Run(
        run_id=run.run_id,
        run_type=str(run.run_type),
        state=str(run.state),
        page=run_page(DAG_ID, run.run_id),
        logical_date=run.logical_date,
        queued=run.queued_at,
        start=run.start_date,
        end=run.end_date,
        hindrance=hindrance,
        tasks=[
            Task(
                task_id=task.task_id,
                state=task.state,
                start=task.start_date,
                seconds=task.duration,
                tries=task.try_number,
                page=task_page(DAG_ID, run.run_id, task.task_id),
            )
            for task in ordered
        ],
    )


def _time(moment: datetime | None) -> float:
    return moment.timestamp() if moment else float("inf")
