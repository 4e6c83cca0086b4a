"""Who reaches which port of the stack, and what it does for somebody without its secret: found out on the running stack.

docs/production.md tells the same in a table, which is compared with what is found.
"""

import hashlib
import hmac
import os
import re
import socket
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from compose_stack import Stack

from include.setting_groups import PROJECT

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.file_order, pytest.mark.timeout(3600)]
NOBODY = 65534


@pytest.fixture(scope="module")
def addresses(stack):
    """Address of each service in each of its networks."""
    found = {}
    for service, container in stack.services().items():
        listed = stack.docker(
            *(
                "inspect",
                "--format",
                "{{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}} {{end}}",
            ),
            container,
        )
        found[service] = dict(part.split("=") for part in listed.split())
    return found


@pytest.fixture(scope="module")
def listeners(stack):
    """Ports on which each service listens for other containers."""
    return {service: listening(stack.main_process(service)) for service in stack.services()}


def listening(pid):
    """Ports on which a process's network namespace listens, but for its loopback."""
    found = set()
    for file in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{file}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, port = local.split(":")
            loopback = address == "0100007F" or address.endswith("0100007F") or address == "0" * 24 + "01000000"
            docker_dns = address == "0B00007F"
            if state == "0A" and not loopback and not docker_dns:
                found.add(int(port, 16))
    return found


def documented():
    """Services and ports of the table in docs/production.md."""
    (section,) = re.findall(
        r"^## Who reaches which port$(.*?)^## ", (PROJECT / "docs/production.md").read_text(), re.M | re.S
    )
    rows = re.findall(r"^\| ([\w, -]+) \| (\d+) \|", section, re.M)
    return {(service, int(port)) for services, port in rows for service in services.split(", ")}


def test_every_port_is_in_the_table_of_the_docs(stack, listeners):
    found = {(service, port) for service, ports in listeners.items() for port in ports}
    assert found == documented()


def test_a_port_is_reached_from_containers_of_its_networks_alone(stack, addresses, listeners):
    for service in stack.services():
        # One process tries all: address, port, and whether somebody answers.
        targets = [
            (other, address, port)
            for other in listeners
            for address in addresses[other].values()
            for port in listeners[other]
        ]
        script = "".join(
            f"(timeout 1 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>/dev/null && echo {other} {port}) &\n"
            for other, address, port in targets
        )
        reached = {
            tuple(line.split())
            for line in stack.compose("exec", "-T", service, "bash", "-c", script + "wait").splitlines()
        }
        mates = {other for other in addresses if addresses[other].keys() & addresses[service].keys()}
        assert reached == {(other, str(port)) for other in mates for port in listeners[other]}, service


def as_nobody(function):
    """Calls the function in a process of the host's user nobody; tells whether it ended without an exception."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            function()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def address(addresses, service):
    return next(iter(addresses[service].values()))


def said(host, port, sent):
    """What a port answers to some bytes."""
    with socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(sent)
        return connection.recv(400)


def test_http_ports_require_a_login_or_reveal_nothing_secret(addresses, stack, first_night):
    api, mlflow, proxy = (address(addresses, name) for name in ("api-server", "mlflow", "proxy"))
    for url in (
        *(
            f"http://{host}:8080{path}"
            for host in (api, proxy)
            for path in ("/ctr/quality", "/ctr/api/days", "/api/v2/dags", "/api/v2/connections")
        ),
        *(
            f"http://{host}:5000{path}"
            for host in (mlflow, proxy)
            for path in ("/", "/api/2.0/mlflow/experiments/search", "/api/2.0/mlflow-artifacts/artifacts")
        ),
    ):
        # MLflow refuses a host that it does not know before it asks for a login.
        assert httpx.get(url).status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN), url
    for path in (
        "execution/health",
        "/execution/task-instances/x/run",
        "docs",
        "redoc",
        "openapi.json",
        "%65xecution/health",
        "x/../execution/health",
    ):
        assert httpx.get(f"{stack.url}/{path}").status_code == httpx.codes.NOT_FOUND, path
    run = f"http://{api}:8080/execution/task-instances/018f0000-0000-7000-8000-000000000000/run"
    assert httpx.patch(run, json={}).status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
    for service, port in (("worker", 8793), ("trainer", 8793), ("triggerer", 8794)):
        answer = httpx.get(f"http://{address(addresses, service)}:{port}/log/dag_id=ctr_daily/x.log")
        assert answer.status_code == httpx.codes.FORBIDDEN, service
    token = {"Authorization": stack.airflow()._http.headers["Authorization"]}
    for page in ("quality", "models", "days"):
        answer = httpx.get(f"{stack.url}/ctr/{page}", headers=token, timeout=60)
        assert (answer.status_code, str(stack.nights[0]) in answer.text) == (httpx.codes.OK, True), page
    assert httpx.get(f"http://{address(addresses, 'scheduler')}:8974/health").content == b""


def test_nobody_signs_a_login_with_a_key_that_workers_have(stack):
    def let_in(secret: str) -> bool:
        key = (PROJECT / "secrets" / secret).read_text().encode()
        remembered = f"1|{hmac.new(key, b'1', hashlib.sha512).hexdigest()}"  # by Flask-Login, of the first user
        with httpx.Client(base_url=stack.url, cookies={"remember_token": remembered}, follow_redirects=True) as client:
            client.get("/auth/", timeout=60)
            return "_token" in client.cookies

    assert let_in("fab_secret_key")
    assert not let_in("airflow_secret_key")


def test_task_services_hold_no_database_or_token_secret(stack):
    for service in ("worker", "trainer"):
        assert set(stack.compose("exec", "-T", service, "ls", "/run/secrets").split()) == {
            "airflow_secret_key",
            "celery_broker_url",
            "mlflow_admin_password",
            "spark_secret",
        }


def test_databases_ask_for_their_passwords(addresses, stack):
    assert said(address(addresses, "redis"), 6379, b"KEYS *\r\n").startswith(b"-NOAUTH")
    psycopg2 = pytest.importorskip("psycopg2")
    for user in ("airflow", "mlflow", "postgres"):
        for password in ("", user, "postgres"):
            with pytest.raises(psycopg2.OperationalError, match="password"):
                psycopg2.connect(host=address(addresses, "postgres"), user=user, password=password, dbname="airflow")
    own = (PROJECT / "secrets/mlflow_db_password").read_text()
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        psycopg2.connect(host=address(addresses, "postgres"), user="mlflow", password=own, dbname="airflow")


def test_spark_runs_nothing_for_somebody_without_its_secret(addresses, listeners, stack):
    assert 6066 not in listeners["spark-master"], "the REST gateway takes programs without a secret"
    assert not as_nobody(lambda: socket.create_connection((address(addresses, "spark-master"), 6066), timeout=3))
    program = "from pyspark.sql import SparkSession as S; S.builder.getOrCreate().range(9).count(); print('RAN' * 2)"
    for secret in ("--conf spark.authenticate=false", "--conf spark.authenticate.secret=guessed"):
        done = subprocess.run(
            ["docker", "compose", "exec", "-T", "api-server", "bash", "-c",
             f"cd /tmp && echo \"{program}\" > a.py && SPARK_LOCAL_HOSTNAME=$(hostname -i | cut -d' ' -f1) timeout 100 "
             f"spark-submit --master spark://spark-master:7077 {secret} a.py"],
            cwd=PROJECT, env=stack.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert "RANRAN" not in done.stdout, secret
    page = f"http://{address(addresses, 'spark-master')}:8080"
    applications = httpx.get(f"{page}/json/").json()
    assert not [application for application in applications["activeapps"] if application["name"] == "a.py"]
    for path in ("driver/kill", "app/kill"):
        answer = httpx.post(f"{page}/{path}/?id=driver-1&terminate=true")
        assert answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED), path


def test_a_user_of_the_host_reads_no_secret_and_no_volume():
    def read_all():
        for path in (PROJECT / "secrets").iterdir():
            path.read_bytes()

    assert not as_nobody(read_all)


def test_no_service_can_write_where_another_reads(stack):
    for service in stack.services():
        done = stack.compose(
            *("exec", "-T", service, "bash", "-c"),
            "for f in / /etc /etc/ctr /opt /opt/ctr /usr/local/bin /run/secrets; do [ ! -w $f ] || echo $f; done",
        )
        assert done == "", service


def test_files_left_by_a_task_do_no_harm_in_other_services(stack):
    """Nothing of it runs or shows a secret: an operator's start-up file, settings, and a log that links to a secret."""
    log = "/var/log/airflow/dag_id=ctr_daily/run_id=stolen/task_id=train"
    stack.compose(
        *("exec", "-T", "worker", "bash", "-c"),
        "for f in /var/lib/ctr/.bashrc $HOME/.bashrc; do echo 'ls /run/secrets' > $f; done; "
        "echo 'CTR_NOTICE_CALLBACK=os:system' > /var/lib/ctr/settings.env; "
        f"mkdir -p {log} && ln -sf /run/secrets/airflow_jwt_secret {log}/attempt=1.log",
    )
    try:
        assert "jwt" not in stack.compose("exec", "-T", "api-server", "bash", "-ic", "true")
        for service in ("scheduler", "dag-processor", "api-server"):
            code = "from include.settings import get_settings; print(get_settings().notice_callback)"
            assert "os:system" not in stack.compose("exec", "-T", service, "entrypoint.sh", "python", "-c", code)
            assert stack.compose("exec", "-T", service, "bash", "-c", f"ls {log} 2>/dev/null || true") == ""
    finally:
        stack.compose(
            "exec", "-T", "worker", "bash", "-c", f"rm -rf /var/lib/ctr/.bashrc /var/lib/ctr/settings.env {log}"
        )


def test_an_operator_reads_a_tasks_log_which_only_its_worker_has(stack, first_night):
    airflow = stack.airflow()
    (run,) = [run for run in airflow.runs() if str(run["data_interval_start"]).startswith(str(stack.nights[0]))]
    for task in ("ingest_logs", "train"):  # of the worker, and of the trainer
        assert "Could not read" not in airflow.log_tail(run["dag_run_id"], task, 1, lines=1000)
        assert len(airflow.log_tail(run["dag_run_id"], task, 1, lines=1000).splitlines()) > 10, task


def test_tls_refuses_plain_http_and_marks_every_cookie_secure(stack):
    own = Stack({**stack.environment, "PROXY": "tls"})
    own.compose("up", "--detach", "--wait", "--no-build", "--no-deps", "proxy")
    try:
        trusted = ssl.create_default_context(cafile=str(PROJECT / "secrets/tls_certificate"))
        with httpx.Client(base_url=stack.url.replace("http:", "https:"), verify=trusted) as client:
            answer = client.get("/auth/login/", headers={"X-Forwarded-Proto": "http", "X-Forwarded-For": "10.0.0.1"})
        assert answer.is_success
        assert answer.headers["Strict-Transport-Security"]
        cookies = answer.headers.get_list("set-cookie")
        assert cookies
        assert all("secure" in cookie.lower() for cookie in cookies), cookies
        assert httpx.get(f"{stack.url}/auth/login/").status_code == httpx.codes.BAD_REQUEST
    finally:
        stack.compose("up", "--detach", "--wait", "--no-build", "--no-deps", "proxy")
