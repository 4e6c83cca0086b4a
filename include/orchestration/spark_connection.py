"""Where Airflow's Spark jobs run: the connection, and what each place needs of a job of this project.

In client mode, the default, the driver runs in the task: its code, settings, exit status and log are the task's own. In cluster
mode the driver runs elsewhere, from the same image or installation, and gets the settings of the environment passed on.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.sdk.exceptions import AirflowNotFoundException
from pydantic import SecretStr

from include.errors import SettingError
from include.orchestration.spark_submit import DRIVER_JAVA, driver_environment, driver_options
from include.setting_groups import PROJECT
from include.settings import Settings

_DOCS = "docs/operations.md, 'Where things run', has an example for each place."
_NOT_PASSED_ON = {"CTR_MLFLOW_URI", "CTR_MLFLOW_ARTIFACTS"} | {
    f"CTR_{name.upper()}" for name, field in Settings.model_fields.items() if field.annotation is SecretStr
}
"""Settings that no Spark job reads and that are, or may hold, a password: a command line is no place for them."""


@dataclass(frozen=True)
class SparkConnection:
    """A connection's master, deploy mode and `conf` (options of spark-submit, from the extra of that name)."""

    master: str
    cluster: bool
    conf: Mapping[str, str]

    @classmethod
    def of(cls, conn_id: str) -> "SparkConnection":
        """Read the connection; raises `SettingError` where there is none, or where Spark does not support what it asks for."""
        try:
            extra: dict[str, Any] = SparkSubmitHook.get_connection(conn_id).extra_dejson
        except AirflowNotFoundException:
            raise SettingError(f"Airflow has no connection '{conn_id}', which says where Spark runs: {_DOCS}") from None
        connection = SparkSubmitHook(conn_id=conn_id)._connection
        place = cls(connection["master"], connection["deploy_mode"] == "cluster", extra.get("conf") or {})
        if place.cluster and place.master.startswith(("spark://", "local")):
            raise SettingError(
                f"The connection '{conn_id}' asks for deploy-mode cluster on {place.master}, where Spark runs Python drivers in "
                f"client mode only. Next: set deploy-mode to client. {_DOCS}"
            )
        if place.on_yarn_nodes and not extra.get(SparkSubmitHook._YARN_RM_WEBAPP_ADDRESS_EXTRA_KEY):
            raise SettingError(
                f"The connection '{conn_id}' asks for deploy-mode cluster on YARN, where the task follows the job through the "
                f"ResourceManager's web address. Next: set '{SparkSubmitHook._YARN_RM_WEBAPP_ADDRESS_EXTRA_KEY}' in its extra, "
                f"or deploy-mode to client. {_DOCS}"
            )
        return place

    @property
    def on_yarn_nodes(self) -> bool:
        """True if the driver runs in YARN's application master."""
        return self.cluster and self.master.startswith("yarn")

    def application(self, job: str) -> str:
        """Return the job's file; on Kubernetes in cluster mode its path in the driver's image."""
        path = PROJECT / "spark_jobs" / f"{job}.py"
        return f"local://{path}" if self.cluster and self.master.startswith("k8s://") else str(path)

    def options(self, java: str) -> dict[str, str]:
        """Return the job's `--conf`: the connection's override the project's, except that the driver's Java options add up."""
        if self.on_yarn_nodes:
            own = {"spark.yarn.maxAppAttempts": "1"}  # Airflow retries, and knows what is not worth it
        elif self.cluster:
            own = {}  # the provider reads from spark-submit's messages at level INFO how the driver ended
        else:
            own = driver_options(self.master)
            if pod := os.environ.get("SPARK_DRIVER_POD_NAME"):  # executors are its own, and end with it
                own["spark.kubernetes.driver.pod.name"] = pod
        return {**own, **self.conf, DRIVER_JAVA: f"{java} {self.conf.get(DRIVER_JAVA, '')}".strip()}

    def environment(self) -> dict[str, str]:
        """Return what the driver's process needs in its environment beyond what is there."""
        if not self.cluster:
            return driver_environment()
        settings = {name: value for name, value in os.environ.items() if name.startswith("CTR_")}
        return {"PYTHONPATH": str(PROJECT)} | {
            name: value for name, value in settings.items() if name not in _NOT_PASSED_ON
        }
