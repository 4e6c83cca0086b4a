"""The rollback DAG: an earlier champion serves again, and the next night starts from it."""

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Param, get_current_context, task

from include.orchestration.alerts import notify_failure, notify_killed
from include.orchestration.operators import RETRY_POLICY
from include.orchestration.run_parameters import refuse_wrong_parameters

DOC = """
### Roll the champion back

Trigger it to return to the previous champion, or to the version in `to` (a former champion). Every version promoted after it
is marked as rolled back: the next run of `ctr_daily` starts from the restored champion, and a rerun of an old day does not
promote a version that was rolled back. `reason` and the user who triggered the run are recorded with the versions.

The same from a shell: `ctr rollback --to VERSION --reason "…"`. To undo it: `ctr promote VERSION`.
"""


@task(retries=0)
def rollback() -> str:
    """Move the champion alias back; fail, and change nothing, if there is no such champion."""
    from include.registry import registry

    context = get_current_context()
    dag, dag_run, params = context["dag"], context["dag_run"], context["params"]
    refuse_wrong_parameters(known=dag.params, conf=dag_run.conf or {}, run_type=dag_run.run_type)
    by = dag_run.triggering_user_name or "ctr_rollback"
    champion = registry.rollback(params["to"], reason=params["reason"], by=by)
    return f"Version {champion.version} of {champion.log_day} is the champion again, by {by}: {params['reason']}."


with DAG(
    dag_id="ctr_rollback",
    dag_display_name="ctr_rollback: return to the champion before",
    description="Moves the champion alias back to an earlier champion, from which the next run starts.",
    doc_md=DOC,
    schedule=None,
    start_date=pendulum.datetime(2019, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    on_failure_callback=notify_killed,
    tags=["ctr", "models"],
    params={
        "to": Param(
            None, type=["null", "integer"], minimum=1, description="A former champion; empty: the previous one."
        ),
        "reason": Param(
            "rolled back in Airflow", type="string", minLength=3, description="Recorded with the versions."
        ),
    },
    default_args={
        "owner": "ctr",
        "retry_policy": RETRY_POLICY,
        "execution_timeout": timedelta(minutes=5),
        "on_failure_callback": notify_failure,
    },
) as dag:
    rollback()
