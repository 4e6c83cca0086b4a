"""Airflow's view of a log day: its latest run of `ctr_daily`, the run's tasks, and what keeps it from starting.

Filled from Airflow's database by the pages (plugins/pages/runs.py), which hand it to `ctr` as JSON (`/ctr/api/runs`).
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, computed_field

from include.stages import SPECS, Checked

DAG_ID = "ctr_daily"
REDONE_FROM: dict[Checked, str] = {
    **{stage: spec.task for stage, spec in SPECS.items()},
    "model": "train",
}
"""The task from which a day is run again once the cause of a stage's failure is fixed."""

Hindrance = Literal["cancelled backfill", "paused backfill", "paused DAG"]
"""What keeps a queued run from starting, whatever else runs."""
_BUSY = ("running", "awaiting_input", "up_for_retry", "up_for_reschedule", "deferred", "restarting")
_NEXT = ("queued", "scheduled")


class Task(BaseModel):
    """One task of a run; `page` is the path of its log below Airflow's root, `seconds` how long its last try took."""

    task_id: str
    state: str | None
    start: datetime | None
    seconds: float | None
    tries: int
    page: str


class Run(BaseModel):
    """The latest run of a log day; `hindrance` is None for a run that is not queued, or waits for its turn."""

    run_id: str
    run_type: str
    state: str
    page: str
    logical_date: datetime | None
    queued: datetime | None
    start: datetime | None
    end: datetime | None
    hindrance: Hindrance | None
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

    @property
    def busy(self) -> list[Task]:
        """The tasks that are at work or between two tries; where there are none, those that come next."""
        return [task for task in self.tasks if task.state in _BUSY] or [
            task for task in self.tasks if task.state in _NEXT
        ]

    def task(self, task_id: str) -> Task | None:
        """Return a task by its id."""
        return next((task for task in self.tasks if task.task_id == task_id), None)
