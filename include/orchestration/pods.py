"""Pods of some tasks under Airflow's KubernetesExecutor, which has no queues. Other executors ignore them."""

from typing import Any

from include.errors import SettingError
from include.settings import get_settings


def executor_config(kind: str) -> dict[str, Any]:
    """Return a task's `executor_config`: its pod differs from the template by `{CTR_KUBERNETES_PODS}/{kind}.yaml`.

    Empty where the setting is; raises `SettingError` where the folder has no such file.
    """
    folder = get_settings().kubernetes_pods
    if folder is None:
        return {}
    path = folder / f"{kind}.yaml"
    if not path.is_file():
        raise SettingError(
            f"CTR_KUBERNETES_PODS: expected the file {path.name}, which says what the pods of '{kind}' tasks have beyond the "
            f"template, found none in {folder}. Next: copy include/kubernetes/pods and set CTR_KUBERNETES_PODS to the copy."
        )
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    return {"pod_override": PodGenerator.deserialize_model_file(str(path))}
