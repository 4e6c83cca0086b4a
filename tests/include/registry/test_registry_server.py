"""The registry against a real MLflow tracking server, which keeps database and artifacts to itself."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx
import pytest

from include.airflow_control.airflow_environment import free_port
from include.registry import registry
from include.registry.model_version import ModelVersion
from include.settings import get_settings

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_database: bytes) -> Iterator[tuple[str, Path]]:
    """URL of the server, and the folder in which it keeps artifacts."""
    home, port = tmp_path_factory.mktemp("mlflow-server"), free_port()
    (home / "mlflow.db").write_bytes(empty_database)
    url, artifacts = f"http://127.0.0.1:{port}", home / "artifacts"
    stores = ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", f"file://{artifacts}"]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *stores],
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
    try:
        for _ in range(120):
            try:
                httpx.get(f"{url}/health", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, (home / "server.log").read_text()[-2000:]
                time.sleep(0.5)
        yield url, artifacts
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


@pytest.fixture
def home(server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, value in {"HOME": str(tmp_path), "MLFLOW_URI": server[0], "KEEP_VERSIONS": "2"}.items():
        monkeypatch.setenv(f"CTR_{name}", value)
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def register(home: Path, day: int) -> ModelVersion:
    folder = home / f"made-{day}"
    folder.mkdir()
    (folder / "model.json").write_text(f"model of {day}")
    return registry.register(
        folder,
        log_day=date(2023, 7, day),
        trained_from=date(2023, 7, 1),
        trained_through=date(2023, 7, day - 1),
        base_version=None,
        builds={},
        content_hash=str(day),
        metrics={"auc": 0.7},
        params={},
    )


def test_a_server_stores_promotes_rolls_back_and_prunes_versions(home: Path, server: tuple[str, Path]) -> None:
    made = [register(home, day) for day in range(11, 16)]
    for version in made:
        registry.promote(version.version, reason="better", by="gate")
    assert (registry.download(5) / "model.json").read_text() == "model of 15"
    assert registry.download(2).is_relative_to(home)
    assert len(list(server[1].rglob("model.json"))) == 5
    assert registry.prune() == [3, 2], "the first one is the anchor of the next nights"
    assert sorted(path.read_text() for path in server[1].rglob("model.json")) == [
        "model of 11",
        "model of 14",
        "model of 15",
    ]
    assert not list((home / "models").glob("2-*"))
    with pytest.raises(registry.PrunedError):
        registry.download(2)
    assert registry.rollback(by="person").version == 4
    assert registry.metrics(4) == {"auc": 0.7}
