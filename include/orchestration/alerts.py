"""Notices to people: a task has failed, a log has not come or has come after all, files changed, the champion is outdated.

It goes to the task's log and, where they are set, to the webhook `CTR_NOTICE_WEBHOOK` and the function `CTR_NOTICE_CALLBACK`.
A task sends the notice of its own failure. One whose process was killed cannot: the callback of its run does, in the DAG
processor, when the run has ended.
"""

import logging
import pkgutil
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

from airflow.sdk.log import redact

from include.calendar import log_day_if_known
from include.days.task_advice import advice
from include.errors import DataQualityError
from include.orchestration import webhook
from include.orchestration.links import absolute, model_page, quality_page, task_log, task_log_of
from include.orchestration.notice import Notice
from include.settings import get_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.days.waits import Change, News
    from include.registry.model_version import ModelVersion
    from include.registry.outdated import ReplacedDays

log = logging.getLogger(__name__)

NOTIFIED = "notified"
"""XCom of a failed task whose notice was sent."""
_KILLED = "No reason is known: its process was killed, its worker died, or a person marked it as failed."
_WITHOUT_LOG = (
    "Until then the day has no features, no training rows and no judged model, the champion stays, and later days, whose "
    "features are made from those of the day before, cannot be built."
)


Notifier = Callable[[Notice], None]
"""A channel for notices; what it raises is logged, and changes nothing for the others."""


def notify_failure(context: "Context") -> None:
    """Notify of a task's final failure, as its `on_failure_callback`; never raises.

    Airflow calls it without the exception, and elsewhere, where the process is gone: that is left to `notify_killed`.
    """
    if not context.get("exception"):
        return
    try:
        notice = notice_of(context)
    except Exception:
        log.exception("The notice of this failure could not be made")
        return
    notify(notice)
    try:
        context["ti"].xcom_push(NOTIFIED, True)
    except Exception:
        log.exception("It could not be recorded that this notice was sent: it may be sent again when the run ends")


def notify_killed(context: "Context") -> None:
    """Notify of each failed task that did not send its notice itself: a DAG's callback at the end of a run, green or red."""
    for task in _failed_without_notice(context["dag"].dag_id, context["run_id"]):
        notify(notice_of_killed(context, task))


def _failed_without_notice(dag: str, run: str) -> list[str]:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from airflow.sdk.execution_time.xcom import XCom

    states = RuntimeTaskInstance.get_task_states(dag_id=dag, run_ids=[run]).get(run, {})
    failed = [task for task, state in states.items() if state == "failed"]
    return [task for task in failed if not XCom.get_one(key=NOTIFIED, dag_id=dag, run_id=run, task_id=task)]


def notify(notice: Notice) -> None:
    """Hand the notice to every notifier; never raises."""
    for notifier in NOTIFIERS:
        try:
            notifier(notice)
        except Exception:
            log.exception("A notice was not delivered (%s)", notifier.__name__)


def _day_of(context: "Context") -> date | None:
    explicit = (context.get("params") or {}).get("day")
    if (run := context.get("dag_run")) and run.run_type == "backfill":
        explicit = None  # it is refused for each day of its range
    return log_day_if_known(context.get("data_interval_start"), explicit)


def notice_of_killed(context: "Context", task: str) -> Notice:
    """Return the notice of a failed task that sent none; `context` is that of its run's callback."""
    dag = context["dag"].dag_id
    run = context["run_id"]
    day = _day_of(context)
    return Notice(
        dag=dag,
        run=run,
        day=day,
        task=task,
        title=f"{dag}, {day or 'no log day'}: {task} failed",
        text=_KILLED,
        advice=advice(task, day),
        link=task_log_of(dag, run, task),
        link_text="Log of the task",
    )


def notice_of(context: "Context") -> Notice:
    """Return the notice of the failure in a task's callback."""
    dag = context["task"].dag_id
    task = context["task"].task_id
    error = context.get("exception")
    day = _day_of(context)
    checks = error.checks if isinstance(error, DataQualityError) else ()
    return Notice(
        dag=dag,
        run=context["ti"].run_id,
        day=day,
        task=task,
        title=f"{dag}, {day or 'no log day'}: {task} failed",
        text=str(redact(str(error) or repr(error))),
        advice=advice(task, day),
        link=absolute(quality_page(day)) if checks and day else task_log(context),
        link_text="Failed checks" if checks and day else "Log of the task",
        checks=checks,
    )


def notice_of_wait(news: "News", context: "Context") -> Notice:
    """Return the notice that a log is overdue or missing, or came after such a notice; `context` is that of `wait_for_raw`."""
    from include.days.day_states import State, describe_wait, rerun, without_log

    day, wait = news.day, news.wait
    if news.kind == "came":
        title = "its log has come"
        text = f"The log of {day} has come; the last notice said that it was missing."
        next_step = "Nothing: its run continues." if news.run_goes_on else f"Run the day: {rerun(day)}."
    else:
        title = State.WAITING if news.kind == "overdue" else "no complete log came"
        text = f"{describe_wait(wait)} {_WITHOUT_LOG}"
        next_step = without_log(day, waiting=news.kind == "overdue")
    return Notice(
        dag=context["task"].dag_id,
        run=context["ti"].run_id,
        day=day,
        task=context["task"].task_id,
        title=f"{context['task'].dag_id}, {day}: {title}",
        text=text,
        advice=next_step,
        link=absolute(quality_page(day)),
        link_text="The day",
        failed=False,
    )


def notice_of_change(change: "Change", context: "Context") -> Notice:
    """Return the notice that raw files of a day changed after it was ingested; `context` is that of `wait_for_raw`."""
    from include.days.backfill_plan import commands

    day = change.day
    names = ", ".join(change.files[:10]) + (", …" if change.files[10:] else "")
    what = f"changed: {names}" if names else "differ from those that were read"
    return Notice(
        dag=context["task"].dag_id,
        run=context["ti"].run_id,
        day=day,
        task=context["task"].task_id,
        title=f"{context['task'].dag_id}, {day}: raw files changed after ingest",
        text=f"After {day} was ingested, its raw files {what}. Its tables, and those of later days, are made from the old ones.",
        advice=f"See what to redo: `ctr backfill-plan`. Redo it: `{commands([day], change.last)[0]}`.",
        link=absolute(quality_page(day)),
        link_text="The day",
        failed=False,
    )


def notice_of_outdated(
    champion: "ModelVersion", replaced: "ReplacedDays", day: date, base: int | None, context: "Context"
) -> Notice:
    """Return the notice that rows which the champion was trained on were replaced since.

    `context` is that of `train`, which continued `base`.
    """
    from include.registry.outdated import sentence

    dag = context["task"].dag_id
    task = context["task"].task_id
    start = "starts from scratch" if base is None else f"continues version {base}"
    return Notice(
        dag=dag,
        run=context["ti"].run_id,
        day=day,
        task=task,
        title=f"{dag}, {day}: champion {champion.version} is outdated",
        text=f"{sentence(champion.version, replaced)} Tonight's candidate {start}.",
        advice="Nothing: the gate compares candidates with it on days that neither has seen, and doubt does not keep it. To stop "
        "using it at once: ctr rollback.",
        link=absolute(model_page(champion.log_day)),
        link_text="The model",
        failed=False,
    )


def to_log(notice: Notice) -> None:
    """Write the notice to the task's log: as an error where a task has failed, else as a warning."""
    level = logging.ERROR if notice.failed else logging.WARNING
    log.log(level, "%s: %s\n%s\n%s", notice.title, notice.text, notice.advice, notice.link)


def to_webhook(notice: Notice) -> None:
    """Post the notice to `CTR_NOTICE_WEBHOOK`, where it is set."""
    if get_settings().notice_webhook:
        webhook.post(get_settings().notice_webhook, notice)


def to_callback(notice: Notice) -> None:
    """Call the function that `CTR_NOTICE_CALLBACK` names, where it is set."""
    if get_settings().notice_callback:
        pkgutil.resolve_name(get_settings().notice_callback)(notice)


NOTIFIERS: tuple[Notifier, ...] = (to_log, to_webhook, to_callback)
