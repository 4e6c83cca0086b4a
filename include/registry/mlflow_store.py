"""The registry's use of MLflow: its client, one writer at a time, and versions as runs with tags and aliases."""

import fcntl
import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.errors import MissingDataError
from include.settings import get_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

MAX_PARAM = 6000
"""Longest value of a parameter in MLflow's database."""
MAX_DIGEST = 36
"""Longest digest of a dataset in MLflow's database."""
_PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
MODEL_FOLDER = "model"
"""Folder of the loadable model among a run's artifacts; reports lie beside it."""


def client() -> "MlflowClient":
    """Return MLflow's client of the settings' registry."""
    if not get_settings().mlflow_uri and not get_settings().mlflow_artifacts and exists():
        _follow_home(get_settings().home, get_settings().artifact_root, get_settings().model_name)
    return client_of(get_settings().registry_uri)


@lru_cache(maxsize=4)
def _follow_home(home: Path, own: str, name: str) -> None:
    """Rewrite the absolute paths of artifacts in MLflow's database of a home that was copied or moved."""
    with closing(sqlite3.connect(home / "mlflow.db")) as database, database:
        try:
            row = database.execute("SELECT artifact_location FROM experiments WHERE name = ?", [name]).fetchone()
        except sqlite3.OperationalError:
            return  # no table yet: another process is making it
        if not row or row[0] == own or not row[0].endswith("/mlflow"):
            return
        log.warning(
            "This home was copied or moved: paths of artifacts in its mlflow.db are set from %s to %s", row[0], own
        )
        for table, column in _PATHS:
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # noqa: S608
                [own, len(row[0]) + 1, len(row[0]), row[0]],
            )


@lru_cache(maxsize=4)
def client_of(uri: str) -> "MlflowClient":
    """Return MLflow's client, without telemetry, progress bars and logs of migrations."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except MlflowException as error:
        raise MissingDataError(f"The model registry at {uri} cannot be opened: {error}") from error


def exists() -> bool:
    """Return whether the registry exists: not if it is a SQLite file that nothing has written yet."""
    uri = get_settings().registry_uri
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


@contextmanager
def one_writer() -> Iterator[None]:
    """Hold the lock by which processes that share `home` write one at a time.

    With a tracking server and several machines each single step is still one transaction of its database.
    """
    path = get_settings().home / "registry.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def create_version(
    folder: Path,
    tags: dict[str, str],
    metrics: dict[str, float],
    params: dict[str, Any],
    datasets: dict[str, str],
    began: datetime | None,
) -> int:
    """Create an MLflow run with the folder as artifact, then the version, and return its number.

    A process killed in between leaves no version. `datasets` are the builds that it was trained on, by name; `began` is when
    training started, for the run's duration.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag, Param

    mlflow = client()
    name = get_settings().model_name
    start = None if began is None else int(began.timestamp() * 1000)
    run = mlflow.create_run(_experiment(), start_time=start, run_name=f"{name} {tags['log_day']}", tags=tags)
    run_params = [Param(key, str(value)[:MAX_PARAM]) for key, value in params.items()]
    mlflow.log_batch(run.info.run_id, params=run_params)
    context = [InputTag("mlflow.data.context", "training")]
    train_state = [
        DatasetInput(
            Dataset(title, digest[-MAX_DIGEST:], "lake", json.dumps({"uri": get_settings().lake_url})), context
        )
        for title, digest in datasets.items()
    ]
    if train_state:
        mlflow.log_inputs(run.info.run_id, train_state)
    log_metrics(run.info.run_id, metrics)
    mlflow.log_artifacts(run.info.run_id, str(folder), MODEL_FOLDER)
    mlflow.set_terminated(run.info.run_id)
    _ensure_model()
    source = f"{run.info.artifact_uri}/{MODEL_FOLDER}"
    return int(mlflow.create_model_version(name, source, run_id=run.info.run_id, tags=tags).version)


def log_metrics(run_id: str, metrics: dict[str, float]) -> None:
    """Add metrics to a run; a value that is not finite is left out, as MLflow's database cannot hold it."""
    for name, value in metrics.items():
        if isfinite(value):
            client().log_metric(run_id, name, value)


def artifacts_uri(run_id: str) -> str:
    """Return the URI of a run's artifacts."""
    return client().get_run(run_id).info.artifact_uri or ""


def delete_model(run_id: str) -> None:
    """Delete the model folder among a run's artifacts; what lies beside it stays."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(artifacts_uri(run_id), get_settings().registry_uri).delete_artifacts(MODEL_FOLDER)


def aliases() -> dict[int, tuple[str, ...]]:
    """Return the aliases of each version that has one."""
    by_version: dict[int, tuple[str, ...]] = {}
    model = registered_model()
    for alias, version in sorted((model.aliases if model else {}).items()):
        by_version[int(version)] = (*by_version.get(int(version), ()), alias)
    return by_version


def set_tags(version: int, **tags: str) -> None:
    """Set tags of a version."""
    for key, value in tags.items():
        client().set_model_version_tag(get_settings().model_name, str(version), key, value)


def delete_tags(version: int, *keys: str) -> None:
    """Remove tags; one that is not there is no error."""
    mlflow = client()
    name = get_settings().model_name
    for key in mlflow.get_model_version(name, str(version)).tags.keys() & keys:
        mlflow.delete_model_version_tag(name, str(version), key)


def _experiment() -> str:
    """Return the id of the model's experiment; a tracking server keeps its own artifact root unless one is set."""
    mlflow = client()
    name = get_settings().model_name
    experiment = mlflow.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    served = get_settings().registry_uri.startswith("http") and not get_settings().mlflow_artifacts
    return str(mlflow.create_experiment(name, artifact_location=None if served else get_settings().artifact_root))


def _ensure_model() -> None:
    if not registered_model():
        client().create_registered_model(get_settings().model_name)


def registered_model() -> Any:
    """Return MLflow's registered model, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client().get_registered_model(get_settings().model_name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
