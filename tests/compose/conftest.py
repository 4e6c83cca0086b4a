"""A Docker engine, and the stack that the tests of this folder share: `make up` from nothing, and days of logs."""

import functools
import http.server
import os
import shutil
import subprocess
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from compose_stack import DAYS, FIRST, HISTORY, Stack

from include.airflow_control.airflow_environment import free_port
from include.setting_groups import PROJECT

ENGINE = PROJECT / "tests/compose/engine.sh"
BRIDGE = "172.17.0.1"
"""This host's address for the containers of a Docker engine."""
WHEELS = os.environ.get("PIP_FIND_LINKS", "")
_SMALL = "CTR_RAW_WAIT_SECONDS=0\nCTR_APPROVAL_SECONDS=60\nCTR_LLM_MAX_TEXTS=40\n"


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    """Environment of the clients of a Docker engine with compose: this machine's, or one started for the tests."""
    if subprocess.run(["docker", "compose", "ps"], cwd=PROJECT, capture_output=True).returncode == 0:
        yield {}
        return
    if os.geteuid() or subprocess.run(["which", "apt-get"], capture_output=True).returncode:
        pytest.skip("no Docker engine with compose 2, and none can be started without root and Debian's packages")
    folder = Path(os.environ.get("CTR_TEST_ENGINE", "") or tmp_path_factory.mktemp("engine"))
    printed = subprocess.run([str(ENGINE), "start", str(folder)], stdout=subprocess.PIPE, text=True, check=True).stdout
    yield dict(line.split("=", 1) for line in printed.split())
    subprocess.run([str(ENGINE), "stop", str(folder)], check=True)


@pytest.fixture(scope="session")
def wheels():
    """Where the trainer's image finds a CPU build of torch: pip's folder of wheels where there is one, on the engine's bridge."""
    if not Path(WHEELS).is_dir():
        yield {}
        return
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=WHEELS)
    with http.server.ThreadingHTTPServer((BRIDGE, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"TORCH_LINKS": f"http://{BRIDGE}:{server.server_port}/"}
        server.shutdown()


@pytest.fixture(scope="session")
def stack(engine, wheels):
    """`make up` from nothing, and days of logs, of which the first are loaded as history."""
    ports = {"AIRFLOW_PORT": str(free_port()), "MLFLOW_PORT": str(free_port())}
    stack = Stack({**engine, **wheels, **ports})
    assert not stack.compose("ps", "--all", "--quiet"), "the stack runs here already: these tests would change its data"
    before = set(PROJECT.glob("settings*"))
    (PROJECT / "settings").mkdir(exist_ok=True)
    (PROJECT / "settings/settings.env").write_text(_SMALL)
    try:
        stack.run("make", "up")
        stack.ctr("sample", "--from", str(FIRST), "--days", str(DAYS), "--rows-per-day", "2000")
        stack.ctr("history", "--from", str(FIRST), "--to", str(FIRST + timedelta(days=HISTORY - 1)))
        yield stack
    finally:
        stack.compose("--profile", "demo", "down", "--volumes")
        for folder in set(PROJECT.glob("settings*")) - before:
            shutil.rmtree(folder)


@pytest.fixture(scope="session")
def first_night(stack):
    """The tasks of the first night, which ended green."""
    return stack.end(stack.begin())
