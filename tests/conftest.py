"""What tests of several rooms share: a home folder of their own, and a model registry that is quick to have."""

import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import budget  # noqa: F401, its profile is for every property test
import pytest
from distribution import GroupScheduling, sort_longest_first, worker_count
from leftovers import RUN, Leftovers, use_own_environment

from include.registry import mlflow_store
from include.settings import get_settings

pytest.register_assert_rewrite("lake_contract")

_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_RUN_FOLDER = Path(os.environ[RUN]) if _WORKER else use_own_environment()
# Airflow reads these when it is first imported, and would otherwise write to the user's own folder.
os.environ["AIRFLOW_HOME"] = str(_RUN_FOLDER / f"airflow{_WORKER}")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "false"


def pytest_configure(config: pytest.Config) -> None:
    if not _WORKER:
        config.pluginmanager.register(Leftovers(_RUN_FOLDER))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return worker_count(config.args)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    return GroupScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sort_longest_first(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A worker can only send text that UTF-8 can write; a hostile log may hold half of a surrogate pair."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def _settings_of_the_test() -> Iterator[None]:
    """Settings are read again by every test, and after it."""
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """MLflow's empty database: a fresh one runs all migrations, seconds each time, so that tests get a copy."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow_store.client_of(f"sqlite:///{path}")
    return path.read_bytes()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: bytes) -> Iterator[Path]:
    """`CTR_HOME` with an empty registry; lake and raw logs are in it."""
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    (tmp_path / "mlflow.db").write_bytes(empty_database)
    yield tmp_path
    get_settings.cache_clear()


@dataclass
class Receiver:
    """A webhook on this machine: its URL, and the bodies and headers of the requests that it got."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def _receiver(*answers: int) -> Iterator[Receiver]:
    """Gives the answers in turn, then 200; a redirect leads to a path of the same server."""
    got = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.headers.append(dict(self.headers))
            got.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status = answers[len(got.bodies) - 1] if len(got.bodies) <= len(answers) else 200
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        got.url = f"http://127.0.0.1:{server.server_port}/services/T0/B0/the-secret"
        Thread(target=server.serve_forever, daemon=True).start()
        yield got
        server.shutdown()


@pytest.fixture(scope="session")
def receiver() -> Iterator[Callable[..., Receiver]]:
    """Starts a webhook that gives these answers (HTTP status) in turn, then 200."""
    with ExitStack() as servers:
        yield lambda *answers: servers.enter_context(_receiver(*answers))
