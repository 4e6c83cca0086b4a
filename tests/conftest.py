"""What tests of several rooms share: a home folder of their own, and a model registry that is quick to have."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from include import mlflow_store
from include.settings import settings

# Airflow reads these when it is first imported, and would otherwise write to the user's own folder.
_airflow_home = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ["AIRFLOW_HOME"] = _airflow_home.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "false"


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
    settings.cache_clear()
    (tmp_path / "mlflow.db").write_bytes(empty_database)
    yield tmp_path
    settings.cache_clear()
