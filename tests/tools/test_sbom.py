"""The bill of materials: what is installed, at the versions of the lock, with licences, and nothing that changes by itself."""

import json
import re
import subprocess

import pytest

from include.setting_groups import PROJECT


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def bill(tmp_path_factory):
    path = tmp_path_factory.mktemp("sbom") / "sbom.json"
    done = subprocess.run(
        ["make", "-o", "setup", "sbom", f"SBOM={path}", "ARGS=--no-validate"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return path.read_text()


def test_every_installed_locked_package_is_listed_at_its_version(bill):
    told = {canonical(part["name"]): part["version"].split("+")[0] for part in json.loads(bill)["components"]}
    pins = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    lock = {canonical(name): version for name, version in pins}
    assert {"apache-airflow", "pyspark", "torch", "mlflow", "great-expectations"} <= told.keys()
    assert {name: version for name, version in told.items() if lock.get(name, version) != version} == {}
    models = (PROJECT / "requirements-models.txt").read_text()
    strangers = {
        name for name in told.keys() - lock.keys() - {"uv", "pip", "setuptools", "wheel"} if name not in models
    }
    assert {name for name in strangers if not name.startswith(("nvidia-", "cuda-", "triton"))} == set(), (
        "torch's with CUDA"
    )


def test_nearly_every_package_has_a_licence(bill):
    parts = json.loads(bill)["components"]
    assert sum("licenses" in part for part in parts) > 0.95 * len(parts)


def test_nothing_in_it_depends_on_when_and_where_it_was_made(bill):
    told = json.loads(bill)
    assert "serialNumber" not in told
    assert "timestamp" not in told["metadata"]
    assert "file://" not in bill
    assert str(PROJECT) not in bill
