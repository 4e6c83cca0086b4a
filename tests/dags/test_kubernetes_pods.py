"""The pods that the KubernetesExecutor makes of the DAG's tasks: its own way from the serialized DAG to what it sends."""

import pytest
import yaml

from include.errors import SettingError
from include.orchestration.pods import executor_config
from include.setting_groups import PROJECT
from include.settings import Settings, get_settings

CLUSTER = PROJECT / "include/kubernetes"
FOLDER = CLUSTER / "pods"
IMAGE = "images.example/ctr-airflow:1"


def load_dag():
    """The DAG as the scheduler has it: parsed, written to the database and read again."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    bag = DagBag(dag_folder=str(PROJECT / "dags" / "ctr_daily.py"))
    assert bag.import_errors == {}
    return DagSerialization.from_dict(DagSerialization.to_dict(bag.dags["ctr_daily"]))


@pytest.fixture(scope="module")
def pods():
    """The final pod of each task, as it is sent to Kubernetes."""
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CTR_KUBERNETES_PODS", str(FOLDER))
        get_settings.cache_clear()
        dag = load_dag()
    get_settings.cache_clear()

    def pod_of(task):
        pod = PodGenerator.construct_pod(
            dag_id=dag.dag_id,
            task_id=task.task_id,
            pod_id=f"ctr-daily-{task.task_id}",
            try_number=1,
            kube_image=IMAGE,
            date=None,
            args=["python", "-m", "airflow.sdk.execution_time.execute_workload"],
            pod_override_object=PodGenerator.from_obj(task.executor_config),
            base_worker_pod=PodGenerator.deserialize_model_file(str(FOLDER / "pod-template.yaml")),
            namespace="ctr",
            scheduler_job_id="1",
            run_id="scheduled__2023-07-18T00:00:00+00:00",
        )
        return PodGenerator.serialize_pod(pod)

    return {task.task_id: pod_of(task) for task in dag.tasks}


def base(pod):
    """The container in which the task runs."""
    (container,) = pod["spec"]["containers"]
    assert container["name"] == "base"
    return container


def test_tasks_of_the_gpu_queue_and_no_others_get_a_gpu(pods):
    with_gpu = {name for name, pod in pods.items() if "nvidia.com/gpu" in base(pod)["resources"]["limits"]}
    assert with_gpu == {"embed_texts", "embed_cold", "train", "evaluate", "gate", "monitor", "promote", "report"}


def test_a_training_task_goes_to_a_gpu_node_with_memory_to_share(pods):
    pod = pods["train"]
    assert base(pod)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["spec"]["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert [toleration["key"] for toleration in pod["spec"]["tolerations"]] == ["nvidia.com/gpu"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in base(pod)["volumeMounts"]
    (shm,) = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "shm"]
    assert shm["emptyDir"]["medium"] == "Memory"


def test_an_ordinary_task_runs_anywhere(pods):
    spec = pods["keep_champion"]["spec"]
    assert "nodeSelector" not in spec
    assert "tolerations" not in spec


def test_every_pod_has_the_executor_command_and_the_right_image(pods):
    """Tasks of the model side have the image of the trainer."""
    for name, pod in pods.items():
        trains = name in ("embed_texts", "embed_cold", "train", "evaluate", "gate", "monitor", "promote", "report")
        assert base(pod)["image"] == ("ctr-trainer-cuda" if trains else IMAGE)
        assert base(pod)["args"][:2] == ["python", "-m"]
        assert pod["spec"]["restartPolicy"] == "Never", "Airflow retries"


def test_no_task_is_root_or_can_become_it_or_write_to_its_image(pods):
    for pod in pods.values():
        container = base(pod)["securityContext"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        assert container["readOnlyRootFilesystem"] is True
        assert container["allowPrivilegeEscalation"] is False
        assert container["capabilities"] == {"drop": ["ALL"]}
        writable = {mount["mountPath"] for mount in base(pod)["volumeMounts"]}
        assert {"/scratch", "/tmp"} <= writable
        for variable in ("HOME", "AIRFLOW_HOME", "CTR_HOME"):
            (value,) = [entry["value"] for entry in base(pod)["env"] if entry["name"] == variable]
            assert any(value.startswith(folder) for folder in writable), variable


def test_secrets_come_by_reference_only(pods):
    for pod in pods.values():
        assert {"secretRef": {"name": "ctr-daily"}} in base(pod)["envFrom"]
        for entry in base(pod)["env"]:
            assert not any(word in entry["name"] for word in ("SECRET", "PASSWORD", "TOKEN", "KEY", "CONN")), entry


def test_only_spark_drivers_may_call_the_kubernetes_api(pods):
    """A driver tells its executors the address of its pod."""
    drivers = {name for name, pod in pods.items() if pod["spec"]["automountServiceAccountToken"]}
    assert drivers == {"ingest_logs", "build_features", "build_training_table"}
    address = [entry for entry in base(pods["ingest_logs"])["env"] if entry["name"] == "SPARK_LOCAL_HOSTNAME"]
    assert address[0]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"


def test_without_the_setting_no_task_has_a_pod_of_its_own():
    get_settings.cache_clear()
    assert {task.task_id: task.executor_config for task in load_dag().tasks if task.executor_config} == {}


def test_a_folder_without_the_file_is_refused_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("CTR_KUBERNETES_PODS", str(tmp_path))
    get_settings.cache_clear()
    with pytest.raises(SettingError, match="copy include/kubernetes/pods"):
        executor_config("gpu")
    get_settings.cache_clear()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_every_field_is_one_that_kubernetes_has(path):
    """The provider passes over unknown fields in silence: a misspelt one would be missing in the cluster."""
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    assert PodGenerator.serialize_pod(PodGenerator.deserialize_model_file(str(path))) == yaml.safe_load(
        path.read_text()
    )


def documents():
    """Every manifest of the cluster, with its file."""
    files = sorted(set(CLUSTER.glob("*.yaml")) - {CLUSTER / "kustomization.yaml"})
    return [
        pytest.param(document, id=f"{file.name}-{document['kind']}")
        for file in files
        for document in yaml.safe_load_all(file.read_text())
    ]


@pytest.mark.parametrize("document", documents())
def test_every_field_of_a_manifest_is_one_that_kubernetes_has(document):
    from kubernetes.client import ApiClient

    client = ApiClient()
    model = client._ApiClient__deserialize(document, f"V1{document['kind']}")
    assert client.sanitize_for_serialization(model) == document


def test_what_the_pods_need_is_in_the_cluster():
    listed = yaml.safe_load((CLUSTER / "kustomization.yaml").read_text())
    assert set(listed["resources"]) == {path.name for path in CLUSTER.glob("*.yaml")} - {"kustomization.yaml"}
    (pods,) = [entry["files"] for entry in listed["configMapGenerator"] if entry["name"] == "ctr-pods"]
    assert {CLUSTER / file for file in pods} == set(FOLDER.iterdir())
    names = {(document.values[0]["kind"], document.values[0]["metadata"]["name"]) for document in documents()}
    assert {("ServiceAccount", "ctr-spark"), ("PersistentVolumeClaim", "ctr-home")} <= names
    declared = {f"CTR_{name.upper()}" for name in Settings.model_fields}
    in_file = [line.split("=")[0] for line in (CLUSTER / "settings.env").read_text().splitlines() if "=" in line]
    assert {name for name in in_file if name.startswith("CTR_")} <= declared
