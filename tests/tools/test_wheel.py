"""The wheel holds everything that runs: it is built, installed beside nothing else of the project, and used."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from include.setting_groups import PROJECT

PACKAGES = ("dags", "include", "plugins", "spark_jobs", "training")
NOT_IN_IT = ("include/containers/", "plugins/.airflowignore")
"""Files of the images alone, and what Airflow reads of a plugins folder."""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in _tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-build-isolation",
        "--no-deps",
        "--wheel-dir",
        out,
        source,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (PROJECT / name).is_file()]


def test_every_file_of_the_packages_is_in_it(wheel):
    wanted = {name for name in _tracked() if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    missing = wanted - set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in missing if not name.startswith(NOT_IN_IT)} == set()


def test_the_installed_command_runs_without_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel], check=True
    )
    environment = os.environ | {"PYTHONPATH": str(site), "CTR_HOME": str(tmp_path / "home"), "CTR_ENV_FILE": ""}

    def ctr(*arguments: str) -> str:
        done = subprocess.run(
            [site / "bin/ctr", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = "import include, training; print(include.__file__, training.__file__)"
    found = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert found.stdout.count(str(site)) == 2, found.stderr
    assert str(site / "include/policies/gate.yaml") in ctr("settings", "--json")
    ctr("sample", "--days", "1", "--rows-per-day", "200")
    assert "2023-07-10" in ctr("status", "--json")
