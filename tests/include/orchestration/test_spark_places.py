"""The connection alone decides where Spark runs: the command that the provider makes of it, and how each place's end is read."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from include.airflow_control.kept_jvm import started_with
from include.errors import SettingError
from include.orchestration import spark_submit
from include.orchestration.operators import SparkDayOperator, UnretryableError
from include.orchestration.spark_submit import driver_java_options
from include.setting_groups import PROJECT

K8S = "k8s://https://kubernetes.example:6443"
JOB = str(PROJECT / "spark_jobs/ingest.py")
DAY = ["--from", "2023-07-17", "--to", "2023-07-17"]


@dataclass
class Submitted:
    """What spark-submit was called with."""

    argv: list[str]
    environment: dict[str, str]

    def option(self, name: str) -> str | None:
        """The value of an option, None where it is not given."""
        return self.argv[self.argv.index(name) + 1] if name in self.argv else None

    @property
    def conf(self) -> dict[str, str]:
        """All `--conf`."""
        pairs = zip(self.argv, self.argv[1:], strict=False)
        return dict(value.split("=", 1) for name, value in pairs if name == "--conf")


Submit = Callable[..., Submitted]


@pytest.fixture
def submit(monkeypatch, tmp_path, home) -> Submit:
    """Runs the operator over a connection, with a `spark-submit` that notes its call, says something and ends with a status."""

    def run(host: str, says: str = "done", status: int = 0, **extra: object) -> Submitted:
        noted = tmp_path / "noted.json"
        program = tmp_path / "spark-submit"
        program.write_text(
            f"#!{sys.executable}\nimport json, os, sys\n"
            f"json.dump([sys.argv[1:], dict(os.environ)], open({str(noted)!r}, 'w'))\nprint({says!r})\nsys.exit({status})\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        connection = {"conn_type": "spark", "host": host, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps(connection))
        operator = SparkDayOperator(task_id="ingest_logs", job="ingest")
        operator.application_args, operator.name = DAY, "ctr-ingest-2023-07-17"
        operator.execute({"task_state_store": None})
        return Submitted(*json.loads(noted.read_text()))

    return run


@pytest.fixture
def resource_manager():
    """A YARN ResourceManager's REST API, in which every application has ended with these diagnostics."""

    def serve(diagnostics: str) -> str:
        ended = "FAILED" if diagnostics else "SUCCEEDED"
        body = json.dumps({"app": {"state": "FINISHED", "finalStatus": ended, "diagnostics": diagnostics}}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    servers: list[ThreadingHTTPServer] = []
    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("host", ["local[2]", "spark://spark.example:7077", "yarn", K8S])
@pytest.mark.parametrize("mode", [{"deploy-mode": "client"}, {}])
def test_client_mode_driver_uses_this_python_code_and_settings(submit, monkeypatch, host, mode):
    monkeypatch.setenv("CTR_LAKE", "hdfs://lake.example/ctr")
    called = submit(host, **mode)
    assert (called.option("--master"), called.option("--deploy-mode")) == (host, mode.get("deploy-mode"))
    assert called.argv[-5:] == [JOB, *DAY]
    assert called.environment["PYTHONPATH"].split(":")[0] == str(PROJECT)
    assert called.environment["CTR_LAKE"] == "hdfs://lake.example/ctr"
    assert called.environment["PYSPARK_DRIVER_PYTHON"] == sys.executable
    assert sys.executable not in called.argv, "executors run no Python, and need not have this one's path"


def test_only_local_jobs_on_small_days_use_the_simple_compiler(submit):
    simple = "TieredStopAtLevel=1"
    assert simple in submit("local[2]").conf["spark.driver.extraJavaOptions"]
    for host in ("spark://spark.example:7077", "yarn", K8S):
        assert simple not in submit(host).conf["spark.driver.extraJavaOptions"], host
    assert simple not in driver_java_options("ingest", 1 << 40, "local[2]")


def test_a_job_of_a_command_runs_in_the_jvm_of_the_nights(submit, monkeypatch):
    def popen(command: list[str], env: dict[str, str], **_: object) -> None:
        raise RuntimeError(command, env)

    monkeypatch.setenv("CTR_SPARK_MASTER", "local[2]")
    night = submit("local[2]", **{"deploy-mode": "client"})
    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(RuntimeError) as called:
        next(spark_submit.submit("history", date(2023, 7, 10), date(2023, 7, 16)))
    command, environment = called.value.args
    options = command[command.index("--master") : command.index(str(PROJECT / "spark_jobs/history.py"))]
    named = night.argv.index("--name")
    own = [*night.argv[:named], *night.argv[named + 2 : -5]]
    assert started_with(options, environment, 0) == started_with(own, night.environment, 0)


def test_a_driver_listens_on_loopback_unless_a_cluster_calls_it(submit):
    addresses = ("spark.driver.bindAddress", "spark.driver.host")
    assert [submit("local[2]").conf[name] for name in addresses] == ["127.0.0.1"] * 2
    assert submit("local[2]", conf={"spark.driver.host": "a.example"}).conf["spark.driver.host"] == "a.example"
    for host in ("spark://spark.example:7077", "yarn", K8S):
        assert set(addresses).isdisjoint(submit(host).conf), host


def test_connection_settings_reach_spark_submit(submit):
    """The connection wins over the project's own settings, and the Java options of both are kept."""
    conf = {
        "spark.kubernetes.container.image": "images.example/ctr:1",
        "spark.log.level": "WARN",
        "spark.driver.extraJavaOptions": "-Dfrom=connection",
    }
    called = submit(K8S, namespace="ctr", conf=conf)
    assert called.conf["spark.kubernetes.namespace"] == "ctr"
    assert called.conf["spark.kubernetes.container.image"] == "images.example/ctr:1"
    assert called.conf["spark.log.level"] == "WARN", "the connection's word counts"
    assert called.conf["spark.driver.extraJavaOptions"].startswith("-Duser.timezone=UTC")
    assert called.conf["spark.driver.extraJavaOptions"].endswith("-Dfrom=connection")
    assert submit("yarn", queue="nightly").option("--queue") == "nightly"


def test_each_connection_in_the_documentation_works_as_it_stands(submit):
    text = (PROJECT / "docs/operations.md").read_text()
    connections = [json.loads(found) for found in re.findall(r"AIRFLOW_CONN_SPARK_DEFAULT='(.*?)'", text, re.DOTALL)]
    places = [submit(connection["host"], **connection["extra"]).option("--master") for connection in connections]
    assert [place.split(":")[0].split("[")[0] for place in places] == ["local", "spark", "yarn", "k8s"]


def test_driver_on_kubernetes_gets_settings_but_no_secret(submit, monkeypatch):
    """The code is that of its image."""
    monkeypatch.setenv("CTR_LAKE", "hdfs://lake.example/ctr")
    monkeypatch.setenv("CTR_NOTICE_WEBHOOK", "https://hooks.example/T0/the-secret")
    monkeypatch.setenv("CTR_MLFLOW_URI", "https://ctr:the-secret@mlflow.example")
    called = submit(K8S, says="exit code: 0", **{"deploy-mode": "cluster", "namespace": "ctr"})
    assert called.argv[-5:] == [f"local://{JOB}", *DAY]
    assert called.conf["spark.kubernetes.driverEnv.PYTHONPATH"] == str(PROJECT)
    assert called.conf["spark.kubernetes.driverEnv.CTR_LAKE"] == "hdfs://lake.example/ctr"
    assert not [argument for argument in called.argv if "the-secret" in argument]
    assert "spark.log.level" not in called.conf, "the provider reads the exit status from messages of level INFO"


def test_driver_on_yarn_gets_settings_and_a_single_attempt(submit, monkeypatch, resource_manager):
    """The application is followed at the resource manager, as spark-submit does not wait for it."""
    monkeypatch.setenv("CTR_LAKE", "hdfs://lake.example/ctr")
    address = {"yarn_resourcemanager_webapp_address": resource_manager("")}
    called = submit("yarn", says="Submitted application_1700000000000_0001", **{"deploy-mode": "cluster"}, **address)
    assert called.argv[-5:] == [JOB, *DAY]
    assert called.conf["spark.yarn.appMasterEnv.PYTHONPATH"] == str(PROJECT)
    assert called.conf["spark.yarn.appMasterEnv.CTR_LAKE"] == "hdfs://lake.example/ctr"
    assert called.conf["spark.yarn.maxAppAttempts"] == "1"
    assert called.conf["spark.yarn.submit.waitAppCompletion"] == "false"


@pytest.mark.parametrize("host", ["local[2]", "spark://spark.example:7077", "yarn", K8S])
def test_a_data_error_is_known_in_client_mode(submit, host):
    with pytest.raises(UnretryableError, match="in this task's log"):
        submit(host, status=2)


def test_a_data_error_is_known_in_cluster_mode(submit, resource_manager):
    with pytest.raises(UnretryableError, match="driver's log"):
        submit(K8S, says="exit code: 2", **{"deploy-mode": "cluster"})
    address = resource_manager("User application exited with status 2")
    yarn = {"deploy-mode": "cluster", "yarn_resourcemanager_webapp_address": address}
    with pytest.raises(UnretryableError, match="driver's log"):
        submit("yarn", says="Submitted application_1700000000000_0001", **yarn)


def test_another_failure_in_cluster_mode_is_retried(submit, resource_manager):
    yarn = {"deploy-mode": "cluster", "yarn_resourcemanager_webapp_address": resource_manager("Container killed")}
    with pytest.raises(RuntimeError, match="Container killed"):
        submit("yarn", says="Submitted application_1700000000000_0001", **yarn)


@pytest.mark.parametrize(
    ("host", "next_step"),
    [
        ("local[2]", "deploy-mode to client"),
        ("spark://spark.example:7077", "deploy-mode to client"),
        ("yarn", "yarn_resourcemanager_webapp_address"),
    ],
)
def test_what_a_place_cannot_do_is_refused_with_what_to_do(submit, host, next_step):
    with pytest.raises(SettingError, match=next_step):
        submit(host, **{"deploy-mode": "cluster"})


def test_a_missing_connection_is_said_and_does_not_become_yarn(monkeypatch, home):
    monkeypatch.delenv("AIRFLOW_CONN_SPARK_DEFAULT", raising=False)
    operator = SparkDayOperator(task_id="ingest_logs", job="ingest")
    operator.application_args = DAY
    with pytest.raises(SettingError, match="no connection 'spark_default'"):
        operator.execute({"task_state_store": None})
