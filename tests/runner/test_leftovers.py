"""A test run is not changed by the shell that starts it, and fails where it leaves something behind."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from include.setting_groups import PROJECT

CONFTEST = """
from leftovers import Leftovers, use_own_environment

folder = use_own_environment()

def pytest_configure(config):
    config.pluginmanager.register(Leftovers(folder, seconds=1))
"""
DAEMON = """
import subprocess, sys

def test_daemon():
    serve = "import http.server as h; h.HTTPServer(('127.0.0.1', 0), h.BaseHTTPRequestHandler).serve_forever()"
    print("pid", subprocess.Popen([sys.executable, "-c", serve], start_new_session=True).pid)
"""
TEMPORARY = """
import tempfile

def test_temporary():
    tempfile.mkdtemp(prefix="forgotten-")
"""
CLEAN = """
import subprocess, sys, tempfile
from include.settings import get_settings

def test_clean(tmp_path):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", "pass"], check=True, cwd=folder)
    assert get_settings().scenes == ("0", "1", "2", "3", "4")
    assert get_settings().seed == 17
"""


@pytest.fixture
def run(tmp_path):
    """Runs pytest on one file in a folder that holds a `.env`, in a shell that exports a setting."""

    def run_tests(content: str) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "conftest.py").write_text(CONFTEST)
        (tmp_path / "test_one.py").write_text(content)
        (tmp_path / ".env").write_text("CTR_SEED=3\n")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "CTR_"))}
        own = {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}", "CTR_SCENES": "7,8", "TMPDIR": str(tmp_path)}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-s",
            "-p",
            "no:randomly",
            "-p",
            "no:xdist",
            "-p",
            "no:cacheprovider",
        ]
        return subprocess.run(command, env=inherited | own, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    return run_tests


def folders(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("ctr-tests-*"))


def test_a_clean_run_passes_and_deletes_its_folder(run, tmp_path):
    done = run(CLEAN)
    assert done.returncode == 0, done.stdout
    assert folders(tmp_path) == []


def test_a_process_left_behind_fails_the_run_is_named_and_ended(run):
    done = run(DAEMON)
    assert done.returncode == 1, done.stdout
    pid = int(done.stdout.split("pid ")[1].split()[0])
    assert f"process {pid}: " in done.stdout.split("left behind by the tests")[1]
    assert "serve_forever" in done.stdout
    # Nobody waits for an orphan where PID 1 does not: it stays as a zombie, without memory or port.
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_leftover_temporary_folder_fails_the_run_and_is_kept(run, tmp_path):
    done = run(TEMPORARY)
    assert done.returncode == 1, done.stdout
    (folder,) = folders(tmp_path)
    assert [path.name.split("-")[0] for path in (folder / "tmp").iterdir()] == ["forgotten"]
    assert str(folder) in done.stdout
