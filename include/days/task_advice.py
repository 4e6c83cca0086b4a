"""What to do when a task of one of the DAGs has failed: shown in its notice, on the pages and by `ctr status`."""

from datetime import date

_ADVICE = {
    "validate_parameters": "Nothing was run.",
    "wait_for_raw": "The raw logs or the lake could not be read. Look at the last lines of the task's log; clear the task.",
    "check": "A check found data that must not be published; yesterday's tables and model stay in use. "
    "Look: ctr quality --day {day} --failed; ctr quarantine --day {day}. "
    "Correct the raw files, then clear the stage's Spark task.",
    "audit_leakage": "Training rows know something of their own day; nothing of them was published. Look at how the columns are "
    "made upstream: ctr quality --day {day} --failed. A column that honestly predicts well: CTR_LEAK_MARGIN.",
    "ingest_logs": "Raw files could not be read. Look at the last lines of the task's log, correct the file, clear the task.",
    "build": "A Spark job failed. A missing earlier day is named in the log: run that day first, then clear this task.",
    "embed": "Text embedding failed. What was encoded is cached: clear the task to go on from there.",
    "train": "Training failed; the champion is unchanged. The log names the step. Clear the task to train again.",
    "evaluate": "Evaluation failed; nothing was promoted. Clear the task.",
    "monitor": "Drift and the champion's figures of the day were not recorded; nothing else depends on it. Clear the task.",
    "gate": "The gate failed before a verdict; nothing was promoted. Clear the task.",
    "rollback": "The champion is as it was. Look: ctr models. Or: ctr rollback --to VERSION.",
    "promote": "The alias was not moved or the move was not recorded. Look: ctr models. Clear the task; it is idempotent.",
}


def advice(task_id: str, day: date | None) -> str:
    """Return what a person can do about the failure of a task."""
    text = next(
        (advice_text for start, advice_text in _ADVICE.items() if task_id.startswith(start)),
        "Look at the last lines of its log.",
    )
    return text.format(day=day or "D")
