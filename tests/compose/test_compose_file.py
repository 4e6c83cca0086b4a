"""What docker-compose.yaml promises: least privilege, health, secrets from files only, two published ports."""

import os
import re
import subprocess
from collections import defaultdict

import pytest
import yaml

from include.setting_groups import PROJECT
from include.settings import Settings

STACK = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
SERVICES = STACK["services"]
ONE_SHOT = {"init", "hdfs-init", "demo"}
LONG_RUNNING = sorted(SERVICES.keys() - ONE_SHOT)
ENTRYPOINT = PROJECT / "include/containers/entrypoint.sh"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_has_no_privilege_that_it_does_not_need(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    assert service["deploy"]["resources"]["limits"].keys() >= {"memory", "pids"}
    assert name == "demo" or all(
        "size=" in folder for folder in service["tmpfs"] if not folder.startswith("/run/postgresql")
    )
    assert not service.get("privileged")
    assert not service.get("network_mode")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_two_mounts_are_in_one_place(name):
    """Docker then picks one of them at each start: task logs were in memory after a restart of the engine."""
    service = SERVICES[name]
    places = [folder.split(":")[0] for folder in service["tmpfs"]]
    places += [volume.split(":")[1] for volume in service.get("volumes", [])]
    assert sorted(set(places)) == sorted(places)


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_service_comes_back_and_tells_whether_it_is_healthy(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    # MLflow's check is in its image. One that fails on and on ends the container's processes.
    assert name == "mlflow" or service["healthcheck"]["test"][:2] == ["CMD", "alive.sh"]


def test_only_the_proxy_is_published_and_by_default_on_localhost():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"proxy"}
    assert all(port.startswith("${CTR_BIND:-127.0.0.1}:") for ports in published.values() for port in ports)


def members(network):
    return {name for name, service in SERVICES.items() if network in service["networks"]}


def test_what_has_no_login_is_in_internal_networks_only():
    assert {name for name, network in STACK["networks"].items() if not (network or {}).get("internal")} == {"outside"}
    assert members("outside") == {"proxy", "dag-processor", "worker", "trainer", "trainer-gpu"}
    assert members("pages") == {"proxy", "api-server", "mlflow"}


def test_what_one_service_writes_no_other_reads():
    writers = defaultdict(set)
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            if not volume.endswith(":ro"):
                writers[volume.split(":")[0]].add(name)
    assert {volume: names for volume, names in writers.items() if len(names) > 1} == {
        "home": {"worker", "trainer", "trainer-gpu"},
        # Housekeeping deletes old files there, and reads none.
        "worker-logs": {"worker", "housekeeping"},
        "trainer-logs": {"trainer", "trainer-gpu", "housekeeping"},
        "triggerer-logs": {"triggerer", "housekeeping"},
    }
    assert {
        service["environment"]["HOME"] for service in SERVICES.values() if "home:" in str(service.get("volumes"))
    } == {"/run/airflow"}


def test_only_services_that_use_the_lake_are_in_its_network():
    lake = {name for name in SERVICES if name.startswith(("spark-", "namenode", "datanode-", "hdfs-"))}
    assert members("data") == lake | {"api-server", "worker", "trainer", "trainer-gpu", "demo"}


def test_every_service_gets_the_secrets_of_its_role_only():
    holders = {
        secret: {name for name, service in SERVICES.items() if secret in service.get("secrets", [])}
        for secret in STACK["secrets"]
    }
    workers = {"worker", "trainer", "trainer-gpu"}
    assert holders == {
        "postgres_password": {"postgres"},
        "airflow_db_password": {
            "postgres",
            "init",
            "api-server",
            "scheduler",
            "dag-processor",
            "triggerer",
            "housekeeping",
        },
        "airflow_fernet_key": {"init", "api-server", "scheduler", "triggerer"},
        "airflow_secret_key": {"api-server", "triggerer", *workers},
        "airflow_jwt_secret": {"api-server", "scheduler"},
        "fab_secret_key": {"api-server"},
        "airflow_admin_password": {"init", "demo"},
        "celery_broker_url": {"scheduler", *workers},
        "redis_password": {"redis"},
        "mlflow_db_password": {"postgres", "mlflow"},
        "mlflow_admin_password": {"mlflow", "api-server", "demo", *workers},
        "mlflow_secret_key": {"mlflow"},
        "tls_certificate": {"proxy"},
        "tls_key": {"proxy"},
        "spark_secret": {"demo", *workers, *(name for name in SERVICES if name.startswith("spark-"))},
    }
    assert not any("SQL_ALCHEMY_CONN" in key for name in workers for key in SERVICES[name]["environment"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_secrets_come_from_files_that_the_service_has(name):
    service = SERVICES[name]
    environment = service.get("environment", {})
    for key, value in environment.items():
        if re.search(r"(PASSWORD|SECRET|TOKEN|_KEY|BROKER_URL|RESULT_BACKEND)", key):
            assert key.endswith(("_FROM_FILE", "_FILE")), f"{key} is written out"
        assert "://" not in str(value) or "@" not in str(value), f"{key} holds a password"
    values = [str(value) for value in environment.values()]
    secret_files = {value.removeprefix("/run/secrets/") for value in values if value.startswith("/run/secrets/")}
    if name not in ("postgres", "redis", "proxy"):  # which read theirs in scripts and configuration
        assert secret_files == set(service.get("secrets", []))


def test_every_secret_is_generated():
    script = (PROJECT / "tools/secrets.sh").read_text()
    assert {name for name in STACK["secrets"] if name in script} == STACK["secrets"].keys()


def test_settings_of_the_project_are_ones_that_it_knows():
    declared = {f"CTR_{name.upper()}" for name in Settings.model_fields} | {"CTR_ENV_FILE"}
    variables = {
        key.removesuffix("_FROM_FILE")
        for service in SERVICES.values()
        for key in service.get("environment", {})
        if key.startswith("CTR_")
    }
    assert variables <= declared


def test_images_of_others_have_a_version():
    assert all(service["image"].startswith("ctr-") for service in SERVICES.values())
    bases = re.findall(r"^ARG \w+_IMAGE=(.*)$", (PROJECT / "Dockerfile").read_text(), re.M)
    assert len(bases) == 3
    for image in bases:
        assert re.search(r":(\d+\.\d+\.\d+|trixie)\b", image), image


def test_both_trainers_take_one_queue_and_only_one_has_a_gpu():
    assert SERVICES["trainer"]["command"] == SERVICES["trainer-gpu"]["command"]
    reservations = {name for name, service in SERVICES.items() if "reservations" in service["deploy"]["resources"]}
    assert reservations == {"trainer-gpu"}
    assert SERVICES["trainer-gpu"]["profiles"] == ["gpu"]


def test_make_up_builds_every_image_and_only_the_trainer_in_use():
    (listed,) = re.findall(r"^IMAGES = ([\w -]+) \$", (PROJECT / "Makefile").read_text(), re.M)
    assert {*listed.split(), "trainer", "trainer-gpu"} == {
        name for name, service in SERVICES.items() if "build" in service
    }


def enter(*command, **environment):
    return subprocess.run(
        ["bash", str(ENTRYPOINT), *command],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
    )


def test_the_entrypoint_gives_a_secret_to_the_command(tmp_path):
    (tmp_path / "secret").write_text("s3cret value\n")
    done = enter("printenv", "API_KEY", API_KEY_FROM_FILE=str(tmp_path / "secret"))
    assert done.stdout == "s3cret value\n"
    assert enter("printenv", "API_KEY_FROM_FILE", API_KEY_FROM_FILE=str(tmp_path / "secret")).returncode


def test_the_entrypoint_tells_a_secret_that_is_not_there(tmp_path):
    done = enter("true", API_KEY_FROM_FILE=str(tmp_path / "none"))
    assert done.returncode
    assert f"API_KEY_FROM_FILE: {tmp_path}/none cannot be read" in done.stderr
    assert "make secrets" in done.stderr


def test_secrets_are_generated_once_and_private_to_the_owner(tmp_path):
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools/secrets.sh"
    script.write_text((PROJECT / "tools/secrets.sh").read_text())
    subprocess.run(["bash", str(script)], check=True)
    folder = tmp_path / "secrets"
    assert {path.name for path in folder.iterdir()} == STACK["secrets"].keys()
    assert folder.stat().st_mode & 0o077 == 0
    first = {path.name: path.read_text() for path in folder.iterdir()}
    assert len(set(first.values())) == len(first)
    assert first["redis_password"] in first["celery_broker_url"]
    (folder / "spark_secret").unlink()
    subprocess.run(["bash", str(script)], check=True)
    second = {path.name: path.read_text() for path in folder.iterdir()}
    assert {name for name in first if first[name] != second[name]} == {"spark_secret"}
