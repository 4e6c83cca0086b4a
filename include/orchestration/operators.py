"""The DAG's operators: the wait for a log, a Spark job, a check and a training command of a day, and a question to a person.

Jobs and commands run a program of this project, whose exit status 2 means an error that a retry cannot fix (bad data, a missing
day, a wrong setting); it is raised as `UnretryableError`, which `RETRY_POLICY` does not retry. Anything else is retried as usual.
"""

import logging
import re
import sys
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.providers.standard.operators.hitl import HITLBranchOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import (
    BaseOperator,
    BaseOperatorLink,
    BaseSensorOperator,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
)
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from include.calendar import parse_day
from include.errors import CtrError, NothingToDoError
from include.orchestration.alerts import notice_of_change, notice_of_outdated, notice_of_wait, notify
from include.orchestration.child_process import end_with_parent
from include.orchestration.links import model_page, quality_page
from include.orchestration.pods import executor_config
from include.orchestration.preloaded import preloaded
from include.orchestration.spark_connection import SparkConnection
from include.orchestration.spark_submit import driver_java_options, raw_bytes
from include.setting_groups import PROJECT
from include.settings import get_settings

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.days.waits import Change, News

log = logging.getLogger(__name__)

LOG_DAY = "{{ log_day(data_interval_start, params.day) }}"
"""Template of the run's log day; `log_day` is a macro of the DAG (include.calendar.log_day)."""

ANSWERED_BY = "answered_by"
"""XCom of `ApprovalOperator`: the user who answered, or `timeout`."""
GPU_QUEUE = "gpu"
"""Queue of Celery workers with a GPU; the KubernetesExecutor gives its tasks the pod of include/kubernetes/pods/gpu.yaml."""
_DATA_ERROR = re.compile(
    rf"(Error code is|Kubernetes spark exit code is|User application exited with status):? {CtrError.exit_status}\b"
)
"""How spark-submit, Kubernetes and YARN's diagnostics report a driver's exit status."""


class UnretryableError(CtrError):
    """A job ended with an error in the data or the settings; its log says which."""


RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(exception=CtrError, action=RetryAction.FAIL, reason="Data and settings errors are not retryable.")]
)


def where_torch_is() -> dict[str, Any]:
    """Return the arguments of a task that loads a model: the queue of the trainers, and under Kubernetes their pod."""
    return {"queue": GPU_QUEUE, "executor_config": executor_config("gpu")}


class QualityLink(BaseOperatorLink):
    """Leads from a task to the checks of its day."""

    name = "Data quality"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Return the path of the day's page; `operator` is the rendered task."""
        return quality_page(operator.log_day())


class ModelLink(BaseOperatorLink):
    """Leads from a task to the model of its day and the gate's verdict."""

    name = "Model"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002
        """Return the path of the day's page; `operator` is the rendered task."""
        return model_page(operator.log_day())


class RawSensor(BaseSensorOperator):
    """Waits until the day's raw log is complete, and logs what for; notifies as `waits` says; skips the run without it."""

    template_fields = ("day",)
    operator_extra_links = (QualityLink(),)

    def __init__(self, *, day: str = LOG_DAY, **kwargs: Any) -> None:
        wait = get_settings().raw_wait_seconds
        super().__init__(poke_interval=60, timeout=wait, mode="reschedule", soft_fail=True, retries=5, **kwargs)
        self.day = day

    def log_day(self) -> date:
        """Return the log day, once rendered."""
        return parse_day(self.day)

    def execute(self, context: "Context") -> Any:
        """Look once and leave the slot until the next look; skip the run when the time is over."""
        from include.days import waits
        from include.lake.lake import get_lake

        try:
            return super().execute(context)
        except AirflowSkipException:
            waits.give_up(get_lake(), self.log_day(), partial(_notify_wait, context))
            raise

    def poke(self, context: "Context") -> bool:
        """Return whether the day's raw files are complete (`CTR_RAW_COMPLETE`), or the day is declared empty."""
        from include.days import waits
        from include.lake.lake import get_lake

        ti = context["ti"]
        first_try = ti.try_number == ti.max_tries - (self.retries or 0) + 1  # a wait goes on after a look that failed
        first = first_try and ti.get_first_reschedule_date(context) is None
        return waits.look(get_lake(), self.log_day(), partial(_notify_wait, context), first=first)


def _notify_wait(context: "Context", news: "News | Change") -> None:
    from include.days.waits import News

    notify(notice_of_wait(news, context) if isinstance(news, News) else notice_of_change(news, context))


class CheckOperator(PythonOperator):
    """Calls a function of the log day (and of `stage`, where one is given) that fails where a check did."""

    operator_extra_links = (QualityLink(),)

    def __init__(self, *, python_callable: Callable[..., Any], stage: str | None = None, **kwargs: Any) -> None:
        op_args = [*([stage] if stage else []), LOG_DAY]
        super().__init__(python_callable=python_callable, op_args=op_args, doc_md=python_callable.__doc__, **kwargs)

    def log_day(self) -> date:
        """Return the log day, once rendered."""
        return parse_day(list(self.op_args)[-1])


class SparkDayOperator(SparkSubmitOperator):
    """Submits `spark_jobs/{job}.py --from DAY --to DAY` over the connection `spark_default`."""

    operator_extra_links = (QualityLink(),)

    def __init__(self, *, job: str, **kwargs: Any) -> None:
        self.job = job
        super().__init__(
            application=str(PROJECT / "spark_jobs" / f"{job}.py"),
            application_args=["--from", LOG_DAY, "--to", LOG_DAY],
            name=f"ctr-{job}-{LOG_DAY}",
            driver_memory=get_settings().spark_driver_memory,
            pool="spark",
            execution_timeout=timedelta(hours=2),
            executor_config=executor_config("spark"),
            **kwargs,
        )

    def log_day(self) -> date:
        """Return the log day, once rendered."""
        return parse_day(str((self.application_args or [])[1]))

    def execute(self, context: "Context") -> Any:
        """Run the job where the connection says; raises `UnretryableError` for exit status 2."""
        place = SparkConnection.of(self._conn_id)
        self.application = place.application(self.job)
        self.conf = place.options(driver_java_options(self.job, raw_bytes(self.log_day()), place.master))
        self.env_vars = place.environment()
        self._yarn_track_via_rm_api = place.on_yarn_nodes
        try:
            return super().execute(context)
        except (AirflowException, RuntimeError) as error:
            if _DATA_ERROR.search(str(error)):
                log = "the driver's log on the cluster" if place.cluster else "this task's log"
                raise UnretryableError(
                    f"The Spark job {self.name} ended with an error that a retry cannot fix: "
                    f"see the lines from 'Error:' on in {log}."
                ) from None
            raise

    def _get_hook(self) -> SparkSubmitHook:
        """Return the provider's hook; in client mode, with `env_vars`, which it gives to a driver's pod only, and a driver that
        ends with the task, also where that is killed outright."""
        hook = super()._get_hook()
        if hook._connection["deploy_mode"] != "cluster":
            hook._env = self.env_vars
            submit = hook._get_spark_binary_path()
            if hook._connection["master"].startswith("local"):
                submit = preloaded(submit)
            hook._get_spark_binary_path = lambda: [*end_with_parent(), *submit]  # type: ignore[method-assign]
        return hook


class TrainingOperator(BaseOperator):
    """Runs `python -m training COMMAND --day DAY` in a process of its own, on the GPU queue."""

    template_fields = ("arguments",)
    operator_extra_links = (ModelLink(),)

    def __init__(self, *, command: str, arguments: list[str] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("pool", "gpu")
        super().__init__(execution_timeout=timedelta(hours=6), **{**where_torch_is(), **kwargs})
        self.arguments = ["--day", LOG_DAY, *(arguments or [])]
        self.command = command
        self.hook = SubprocessHook()

    def log_day(self) -> date:
        """Return the log day, once rendered."""
        return parse_day(self.arguments[1])

    def execute(self, context: "Context") -> str:  # noqa: ARG002
        """Run the command and return its last line; raises `UnretryableError` for exit status 2, and skips for 3."""
        command = preloaded([sys.executable, "-m", "training", self.command, *self.arguments])
        result = self.hook.run_command([*end_with_parent(), *command], cwd=str(PROJECT))
        if result.exit_code == NothingToDoError.exit_status:
            raise AirflowSkipException(f"training {self.command}: {result.output}")
        if result.exit_code == CtrError.exit_status:
            raise UnretryableError(f"training {self.command}: {result.output}")
        if result.exit_code:
            raise AirflowException(f"training {self.command} ended with status {result.exit_code}: {result.output}")
        return result.output

    def on_kill(self) -> None:
        """Stop the command when the task is stopped."""
        self.hook.send_sigterm()


class TrainOperator(TrainingOperator):
    """Trains the day's candidate, and notifies once that a champion is outdated."""

    def execute(self, context: "Context") -> str:
        """Do the same as `TrainingOperator`; the model is trained by then, so that a failure of the registry is only logged."""
        result = super().execute(context)
        try:
            self._notify_outdated_champion(context)
        except Exception:
            log.exception("The check whether the champion is outdated failed; the next night repeats it")
        return result

    def _notify_outdated_champion(self, context: "Context") -> None:
        from include.lake.lake import get_lake
        from include.records import Train
        from include.registry import registry
        from include.registry.outdated import outdated_champion

        lake = get_lake()
        outdated = outdated_champion(lake)
        if outdated and not outdated[0].outdated_notified_at:
            train = lake.record(Train, self.log_day())
            notify(notice_of_outdated(*outdated, self.log_day(), train.base_version if train else None, context))
            registry.set_outdated_notified(outdated[0].version)


class ApprovalOperator(HITLBranchOperator):
    """Asks a person under Required Actions which of the tasks downstream to run, and keeps who answered as `ANSWERED_BY`."""

    def execute_complete(self, context: "Context", event: dict[str, Any]) -> Any:
        """Follow the answer, or the default where nobody answered."""
        person = event["responded_by_user"]
        context["ti"].xcom_push(key=ANSWERED_BY, value=person["name"] if person else "timeout")
        return super().execute_complete(context, event)
