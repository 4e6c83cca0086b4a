"""What is said when a task fails: one message that names the day, the task, the reason and what to look at."""

import logging
from typing import TYPE_CHECKING

from include.calendar import log_day
from include.errors import InvalidInputError

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

_NEXT = {
    "check": "A check found data that must not be published; yesterday's tables and model stay in use. "
    "Look: ctr quality --day {day} --failed; ctr quarantine --day {day}. "
    "Correct the raw files, then clear the stage's Spark task.",
    "ingest_logs": "Raw files could not be read. Look at the last lines of the task's log, correct the file, clear the task.",
    "build": "A Spark job failed. A missing earlier day is named in the log: run that day first, then clear this task.",
    "embed": "Text embedding failed. What was encoded is cached: clear the task to go on from there.",
    "train": "Training failed; the champion is unchanged. The log tells the step. Clear the task to train again.",
    "evaluate": "Evaluation failed; nothing was promoted. Clear the task.",
    "monitor": "Drift and the champion's figures of the day were not recorded; nothing else depends on it. Clear the task.",
    "gate": "The gate failed before a verdict; nothing was promoted. Clear the task.",
    "rollback": "The champion is as it was. Look: ctr models. Or: ctr rollback --to VERSION.",
    "promote": "The alias was not moved or the move was not recorded. Look: ctr models. Clear the task; it is idempotent.",
}


def notify_failure(context: "Context") -> None:
    """Airflow's `on_failure_callback`: writes the message to the task's log as an error."""
    dag, task = context["task"].dag_id, context["task"].task_id
    try:
        day = str(log_day(context.get("data_interval_start"), (context.get("params") or {}).get("day")))
    except InvalidInputError:
        day = "no log day"
    advice = next(
        (text for start, text in _NEXT.items() if task.startswith(start)), "Look at the last lines of its log."
    )
    log.error("%s, %s: %s failed: %s\n%s", dag, day, task, context.get("exception"), advice.format(day=day))
