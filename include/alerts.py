"""What is said when a task fails: one notice with the day, the task, the reason or the failed checks, and where to look.

It goes to the task's log and, where they are set, to the webhook `CTR_NOTICE_WEBHOOK` and the function `CTR_NOTICE_CALLBACK`.
"""

import logging
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from airflow.sdk.log import redact

from include import webhook
from include.calendar import log_day_if_known
from include.errors import DataQualityError
from include.links import absolute, quality_page, task_log
from include.quality import Record
from include.settings import settings

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

_NEXT = {
    "validate_parameters": "Nothing was run, and nothing else of this run will be. Trigger it again as the error says.",
    "check": "A check found data that must not be published; yesterday's tables and model stay in use. "
    "Look: ctr quality --day {day} --failed; ctr quarantine --day {day}. "
    "Correct the raw files, then clear the stage's Spark task.",
    "audit_leakage": "Training rows know something of their own day; nothing of them was published. Look at how the columns are "
    "made upstream: ctr quality --day {day} --failed. A column that honestly predicts well: CTR_LEAK_MARGIN.",
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


_KILLED = "no reason is known: the task was stopped from outside, or its worker died"


@dataclass(frozen=True)
class Notice:
    """One failure of a task. `checks` are the records of the checks that failed (include/quality.py), none for any other failure;
    `day` is None where the run has no log day; `link` leads to the failed checks, else to the task's log."""

    dag: str
    run: str
    day: date | None
    task: str
    error: str
    advice: str
    checks: tuple[Record, ...]
    link: str

    @property
    def title(self) -> str:
        """DAG, day and task in a line."""
        return f"{self.dag}, {self.day or 'no log day'}: {self.task} failed"


Notifier = Callable[[Notice], None]
"""Whoever is told of a failure; what it raises is logged, and changes nothing for the others."""


def notify_failure(context: "Context") -> None:
    """Airflow's `on_failure_callback`, called when a task has failed for good: tells every notifier, and never raises."""
    try:
        notice = notice_of(context)
    except Exception:
        log.exception("There is no notice of this failure: it could not be put together")
        return
    for notify in NOTIFIERS:
        try:
            notify(notice)
        except Exception:
            log.exception("A notice of this failure was not delivered (%s)", notify.__name__)


def notice_of(context: "Context") -> Notice:
    """The notice of the failure in a callback's context."""
    dag, task, error = context["task"].dag_id, context["task"].task_id, context.get("exception")
    day = log_day_if_known(context.get("data_interval_start"), (context.get("params") or {}).get("day"))
    advice = next(
        (text for start, text in _NEXT.items() if task.startswith(start)), "Look at the last lines of its log."
    )
    failed = error if isinstance(error, DataQualityError) else None
    return Notice(
        dag=dag,
        run=context["ti"].run_id,
        day=day,
        task=task,
        error=str(redact(str(error) or repr(error))) if error else _KILLED,
        advice=advice.format(day=day or "D"),
        checks=failed.checks if failed else (),
        link=absolute(quality_page(day)) if failed and day else task_log(context),
    )


def to_log(notice: Notice) -> None:
    """Writes the notice to the task's log, as an error."""
    log.error("%s: %s\n%s\n%s", notice.title, notice.error, notice.advice, notice.link)


def to_webhook(notice: Notice) -> None:
    """Posts the notice to `CTR_NOTICE_WEBHOOK`, where it is set."""
    if settings().notice_webhook:
        webhook.post(settings().notice_webhook, notice)


def to_callback(notice: Notice) -> None:
    """Calls the function that `CTR_NOTICE_CALLBACK` names, where it is set."""
    if settings().notice_callback:
        pkgutil.resolve_name(settings().notice_callback)(notice)


NOTIFIERS: tuple[Notifier, ...] = (to_log, to_webhook, to_callback)
