"""The nightly DAG: yesterday's log becomes tables, the tables a candidate model, and the better model serves tomorrow."""

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pendulum
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, CronDataIntervalTimetable, Param, TriggerRule, chain, task

from include.calendar import log_day
from include.orchestration.alerts import notify_failure, notify_killed
from include.orchestration.operators import (
    ANSWERED_BY,
    LOG_DAY,
    RETRY_POLICY,
    ApprovalOperator,
    CheckOperator,
    RawSensor,
    SparkDayOperator,
    TrainingOperator,
    TrainOperator,
    where_torch_is,
)
from include.orchestration.run_parameters import refuse_wrong_parameters
from include.settings import get_settings
from include.stages import SPECS, STAGES, Stage

if TYPE_CHECKING:
    from airflow.sdk.types import DagRunProtocol as DagRun
    from airflow.sdk.types import RuntimeTaskInstanceProtocol as RuntimeTaskInstance

DOC = """
### Daily CTR retraining

A run works on **log day *d***, the UTC date on which its data interval starts (run ids carry the date *after* it).
Raw logs of *d* → typed logs → features as of the end of *d* → training rows of *d* (joined to the features of *d*−1) →
a candidate trained on the days before *d* → evaluation on *d*, which no model has seen → gate → promotion.

**A red `validate_parameters`** names the wrong parameter of a manual run or a backfill; nothing has run.
**A red `check_…` task** is a data-quality failure: its log names table, expectation and observed value; nothing of that
stage was published and the champion is unchanged. Correct the raw files and clear the Spark task before it.
**A red `audit_leakage`** means that training rows contain data of their own day: a fault of code or of the log's columns.
**A skipped run** had no raw logs. **`ask_a_person`** waits for a decision under *Required Actions*; by default the champion
stays. **A red `monitor`** blocks nothing: gate and promotion do not wait for it.
A backfill promotes only with the parameter `{"promote": "yes"}`.
"""


def may_promote(dag_run: "DagRun", choice: str) -> str:
    """Return the gate's option for this run: by default scheduled and manual runs may promote, backfills may not."""
    allowed = choice == "yes" or (choice == "auto" and dag_run.run_type in ("scheduled", "manual"))
    return "--may-promote" if allowed else "--no-may-promote"


def decision_text(day: date) -> str:
    """Return the gate's evidence in Markdown, for the person who decides."""
    from include.orchestration.decision import describe

    return describe(day)


def validate_parameters(
    dag: DAG,
    dag_run: "DagRun",
    params: dict[str, Any],
    data_interval_start: datetime | None = None,
) -> str:
    """Return the log day; fail if the run has none, or if its parameters contradict each other."""
    refuse_wrong_parameters(known=dag.params, conf=dag_run.conf or {}, run_type=dag_run.run_type)
    return str(log_day(data_interval_start, params["day"]))


def publish(stage: Stage, day: str) -> dict[str, int]:
    """Publish what the Spark job staged; fail, naming the failed checks, if a critical one did not pass."""
    from include.lake.lake import get_lake

    manifest = get_lake().publish(stage, log_day(None, day))
    return {name: table.rows for name, table in manifest.tables.items()}


def refuse_leaks(day: str) -> int:
    """Fail if the staged training rows contain data of their own day; return the number of leak checks that passed."""
    from include.checks import refuse_failed
    from include.lake.lake import get_lake
    from include.quality.suites import LEAK_CHECKS

    staged = get_lake().staged("training", log_day(None, day))
    checks = [check for check in staged[1].checks if check.name in LEAK_CHECKS] if staged else []
    refuse_failed("training", log_day(None, day), checks)
    return len(checks)


@task.branch
def decide(day: str) -> str:
    """Follow the gate's verdict: promote, ask a person, or keep the champion."""
    from include.orchestration.decision import next_step

    return next_step(log_day(None, day))


def answered_by(ti: "RuntimeTaskInstance | None") -> str:
    """Return who answered `ask_a_person`: a user, `timeout` if nobody did, `gate` if the task did not run."""
    return (ti.xcom_pull(task_ids="ask_a_person", key=ANSWERED_BY) if ti else None) or "gate"


@task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, **where_torch_is())
def promote(day: str, ti: "RuntimeTaskInstance | None" = None) -> str:
    """Move the champion alias to the day's candidate, and record who decided."""
    from include.orchestration.decision import apply_decision

    record = apply_decision(log_day(None, day), by=answered_by(ti))
    return f"Version {record.candidate} is the champion, decided by {record.decided_by}."


@task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)
def keep_champion(day: str, ti: "RuntimeTaskInstance | None" = None) -> str:
    """Keep the champion, and record why."""
    from include.orchestration.decision import record_refusal, why_kept

    reason = why_kept(log_day(None, day))
    record_refusal(log_day(None, day), by=answered_by(ti), reason=reason)
    return f"The champion stays: {reason}."


def spark_task(stage: Stage, doc_md: str) -> SparkDayOperator:
    """Return the task that stages and audits a stage; its id and its job are declared in `include/stages.py`."""
    return SparkDayOperator(task_id=SPECS[stage].task, job=SPECS[stage].job, doc_md=doc_md)


with DAG(
    dag_id="ctr_daily",
    dag_display_name="ctr_daily: retrain the CTR model",
    description="Logs → features → checks → PLE training → cold-start evaluation → gate, one log day a run.",
    doc_md=DOC,
    schedule=CronDataIntervalTimetable(get_settings().schedule, timezone="UTC"),
    start_date=pendulum.datetime(2019, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    on_failure_callback=notify_killed,
    on_success_callback=notify_killed,  # a red `report` leaves its run green
    tags=["ctr", "training"],
    params={
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            description="Log day of a manual run (YYYY-MM-DD); empty in a backfill.",
        ),
        "promote": Param("auto", enum=["auto", "yes", "no"], description="auto: backfills do not promote."),
        "scratch": Param(False, type="boolean", description="Train from scratch instead of continuing the champion."),
    },
    user_defined_macros={"log_day": log_day, "may_promote": may_promote, "decision_text": decision_text},
    default_args={
        "owner": "ctr",
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": True,
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=30),
        "on_failure_callback": notify_failure,
    },
) as dag:
    parameters = PythonOperator(
        task_id="validate_parameters",
        python_callable=validate_parameters,
        doc_md=validate_parameters.__doc__,
    )
    wait_for_raw = RawSensor(
        task_id="wait_for_raw",
        doc_md="Waits for the day's files; sends a notice if they are overdue and on arrival. Without them the run is skipped.",
    )
    ingest_logs = spark_task("logs", "CSV of the day → typed ORC and quarantine, staged and audited.")
    build_features = spark_task("features", "Aggregates of the day and feature snapshots as of its end, staged.")
    build_training_table = spark_task("training", "Logs of the day joined to the snapshot of the day before.")
    embed_texts = TrainingOperator(
        task_id="embed_texts", command="embed-texts", doc_md="Encoder vectors of texts that are new in this run."
    )
    embed_cold = TrainingOperator(
        task_id="embed_cold",
        command="embed-cold",
        doc_md="Language-model vectors of cold and few-shot items and users only.",
    )
    train = TrainOperator(
        task_id="train",
        command="train",
        arguments=["{{ '--scratch' if params.scratch else '--no-scratch' }}"],
        doc_md="Trains the candidate on training rows of the days before.",
    )
    evaluate = TrainingOperator(
        task_id="evaluate",
        command="evaluate",
        doc_md="Evaluates candidate and champion on the day's rows, by user level × item level × scene.",
    )
    monitor = TrainingOperator(
        task_id="monitor",
        command="monitor",
        pool="default_pool",
        doc_md="The champion's metrics of the day, drift of its inputs, freshness. Blocks nothing.",
    )
    gate = TrainingOperator(
        task_id="gate",
        command="gate",
        arguments=["{{ may_promote(dag_run, params.promote) }}"],
        doc_md="Gives a verdict with reasons: promote, hold or reject. Promotes nothing itself.",
    )
    ask_a_person = ApprovalOperator(
        task_id="ask_a_person",
        subject="ctr_daily " + LOG_DAY + ": the gate holds the candidate",
        body="{{ decision_text(log_day(data_interval_start, params.day)) }}",
        options=["promote", "keep_champion"],
        defaults="keep_champion",
        response_timeout=timedelta(seconds=get_settings().approval_seconds),
        execution_timeout=None,
        doc_md="Waits for a decision under Required Actions; without an answer the champion stays.",
    )
    report = TrainingOperator(
        task_id="report",
        command="report",
        pool="default_pool",
        doc_md="Writes one HTML page of the day, also after a failure.",
    )

    logs_published, features_published, training_published = (
        CheckOperator(task_id=f"check_{stage}", stage=stage, python_callable=publish) for stage in STAGES
    )
    audit_leakage = CheckOperator(task_id="audit_leakage", python_callable=refuse_leaks)
    decision = decide(LOG_DAY)
    outcomes = [promote(LOG_DAY), keep_champion(LOG_DAY)]

    chain(parameters, wait_for_raw, ingest_logs, logs_published, [build_features, build_training_table])
    chain(build_features, features_published, embed_texts, embed_cold)
    chain(build_training_table, audit_leakage, training_published, embed_cold)  # joins the features of the day before
    chain(embed_cold, train, evaluate, gate, decision, [ask_a_person, *outcomes])
    chain(ask_a_person, outcomes)
    chain(evaluate, monitor)
    # A teardown always runs after its setup, and does not turn a failed run green.
    chain([*outcomes, monitor], report.as_teardown(setups=parameters))
