"""The model registry: MLflow, seen through the few things that this project does with it.

A version is a folder of plain files (safetensors, JSON; never pickle), kept as artifacts of an MLflow run. The alias
`champion` names the version in use, `candidate` the one trained last; all else that is known of a version is a tag.
Of promotions the tags keep the history: `promoted_at`, and `rolled_back_at` on a version that was taken back. A version
with `pruned_at` has lost its model folder to `CTR_KEEP_VERSIONS`; what is known of it, and its reports, stay.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from math import isfinite
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from include.calendar import parse_day
from include.errors import InvalidInputError, MissingDataError
from include.lake import new_build
from include.settings import settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
CANDIDATE = "candidate"
MODEL_FOLDER = "model"
"""Folder of the loadable model among a run's artifacts; reports lie beside it."""


class PrunedError(MissingDataError):
    """The files of an old version were deleted, as the settings say."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered model: what it was trained on, what the gate said, and whether it was ever in use.

    `log_day` is the day whose run trained it; `trained_from`..`trained_through` the days of its training rows, both
    included; `base_version` the version it was warm-started from; times are ISO 8601, UTC.
    """

    version: int
    run_id: str
    log_day: date
    trained_from: date
    trained_through: date
    base_version: int | None
    content_hash: str
    verdict: str | None
    promoted_at: str | None
    promoted_by: str | None
    promoted_reason: str | None
    rolled_back_at: str | None
    rolled_back_by: str | None
    rolled_back_reason: str | None
    pruned_at: str | None
    aliases: tuple[str, ...]
    created_at: str

    @property
    def in_history(self) -> bool:
        """Whether it was promoted and not taken back since."""
        return self.promoted_at is not None and self.rolled_back_at is None


def register(
    folder: Path,
    *,
    log_day: date,
    trained_from: date,
    trained_through: date,
    base_version: int | None,
    content_hash: str,
    metrics: dict[str, float],
    params: dict[str, str],
) -> ModelVersion:
    """Stores a model folder as a new version and gives it the alias `candidate`.

    The version that the same log day and content already have is returned instead: a rerun registers nothing new. One that was
    pruned does not count.
    """
    with _lock():
        version = _registered(log_day, content_hash)
        if version is None:
            tags = {
                "log_day": str(log_day),
                "trained_from": str(trained_from),
                "trained_through": str(trained_through),
                "content_hash": content_hash,
            }
            if base_version is not None:
                tags["base_version"] = str(base_version)
            version = _create_version(folder, tags, metrics, params)
        _client().set_registered_model_alias(settings().model_name, CANDIDATE, str(version))
    return get(version)


def versions() -> list[ModelVersion]:
    """Every version, newest first; empty where nothing was registered yet."""
    if not _exists():
        return []
    client, name = _client(), settings().model_name
    found, token = [], None
    while True:
        page = client.search_model_versions(f"name='{name}'", max_results=1000, page_token=token)
        found += list(page)
        token = page.token
        if not token:
            break
    aliases = _aliases() if found else {}
    return sorted((_version(entity, aliases) for entity in found), key=lambda version: -version.version)


def get(version: int) -> ModelVersion:
    """One version; raises `MissingDataError` where there is no such version."""
    for known in versions():
        if known.version == version:
            return known
    raise MissingDataError(
        f"Model '{settings().model_name}' has no version {version} in {settings().registry_uri}. "
        "`ctr models` lists the versions."
    )


def champion() -> ModelVersion | None:
    """The version in use, or None before the first promotion."""
    return _holder(versions(), CHAMPION)


def promoted_before(day: date) -> ModelVersion | None:
    """The newest version, by log day and then by time of promotion, that was promoted by a run before `day`.

    Versions that were rolled back don't count. It is what the run of `day` starts from.
    """
    known = [version for version in versions() if version.in_history and version.log_day < day]
    return max(known, key=lambda version: (version.log_day, version.promoted_at or ""), default=None)


def promote(version: int, *, reason: str, by: str, replacing: int | EllipsisType | None = ...) -> ModelVersion:
    """Makes a version the champion; for the champion itself it changes nothing.

    `replacing` is the champion (or None) that the decision was taken against: if another one is in place by now, the
    decision is out of date and `InvalidInputError` is raised. Safe with many processes at once.
    """
    with _lock():
        target, current = get(version), champion()
        if current is not None and current.version == version and target.in_history:
            return target
        in_place = current.version if current else None
        if replacing is not ... and in_place not in (replacing, version):
            raise InvalidInputError(
                f"Version {version} was to replace champion {replacing}, but the champion is {in_place} by now. "
                "Clear the evaluate and gate tasks of that day, so that it is compared with this one."
            )
        _set_tags(version, promoted_at=_now(), promoted_by=by, promoted_reason=reason)
        _delete_tag(version, "rolled_back_at")
        _client().set_registered_model_alias(settings().model_name, CHAMPION, str(version))
        return get(version)


def rollback(to: int | None = None, *, reason: str = "rollback", by: str = "person") -> ModelVersion:
    """Makes the champion before this one (or version `to`, once promoted) champion again, and returns it.

    Every version that was promoted after it is tagged as rolled back, so that no later run starts from one of them.
    Raises `MissingDataError` where there is no earlier champion, `InvalidInputError` if `to` was never promoted.
    """
    with _lock():
        known = versions()
        current = _holder(known, CHAMPION)
        if current is None:
            raise MissingDataError(f"Model '{settings().model_name}' has no champion, so nothing can be rolled back.")
        target = _promoted(known, to) if to is not None else _predecessor(known, current)
        if target is None:
            raise MissingDataError(
                f"Version {current.version} has no earlier champion to return to. `ctr models` lists the versions."
            )
        if target.version == current.version:
            return target
        for version in known:
            if version.in_history and (version.promoted_at or "") > (target.promoted_at or ""):
                _set_tags(version.version, rolled_back_at=_now(), rolled_back_by=by, rolled_back_reason=reason)
        _delete_tag(target.version, "rolled_back_at")
        _client().set_registered_model_alias(settings().model_name, CHAMPION, str(target.version))
        return get(target.version)


def download(version: int) -> Path:
    """Local folder of a version's model; copied into `{home}/models` only where the artifact store is remote."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    known = get(version)
    if known.pruned_at:
        raise PrunedError(
            f"The model of version {version} was deleted on {known.pruned_at}, as more than CTR_KEEP_VERSIONS="
            f"{settings().keep_versions} versions came after it. Retrain its day, or use a version that `ctr models` does not "
            "call pruned."
        )
    uri = _artifacts(known)
    if uri.startswith(("file:", "/")):
        path = Path(local_file_uri_to_path(uri)) / MODEL_FOLDER
        if not path.is_dir():
            raise MissingDataError(f"The artifacts of version {version} are not in {path}: restore them from a backup.")
        return path
    path = _copy(known)
    if not path.is_dir():
        temporary = path.with_name(f".{path.name}.{new_build()}")
        temporary.mkdir(parents=True)
        _client().download_artifacts(known.run_id, MODEL_FOLDER, str(temporary))
        try:
            (temporary / MODEL_FOLDER).rename(path)
        except OSError:  # another process was faster; its copy is the same
            if not path.is_dir():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return path


def prune() -> list[int]:
    """Deletes the model folders of all but the newest `CTR_KEEP_VERSIONS` versions, and returns the numbers of those.

    Never those of the champion, of the version that a rollback returns to, or of one that either of them continues.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    with _lock():
        known = versions()
        kept = {version.version for version in known[: settings().keep_versions]} | _needed(known)
        pruned = [version for version in known if version.version not in kept and not version.pruned_at]
        for version in pruned:
            _set_tags(
                version.version, pruned_at=_now()
            )  # first: a kill in between leaves files, and no version without
            get_artifact_repository(_artifacts(version)).delete_artifacts(MODEL_FOLDER)
            shutil.rmtree(_copy(version), ignore_errors=True)
    return [version.version for version in pruned]


def log_artifacts(version: int, folder: Path) -> None:
    """Adds the files of a folder (reports, tables, metrics) to a version, beside its model."""
    _client().log_artifacts(get(version).run_id, str(folder))


def log_metrics(version: int, metrics: dict[str, float]) -> None:
    """Adds metrics to a version; a value that is not finite is left out, as MLflow's database cannot hold it."""
    _log_metrics(get(version).run_id, metrics)


def metrics(version: int) -> dict[str, float]:
    """The latest value of each metric of a version."""
    return dict(_client().get_run(get(version).run_id).data.metrics)


def set_verdict(version: int, verdict: str) -> None:
    """Tags a version with the gate's verdict."""
    _set_tags(version, verdict=verdict)


def _registered(log_day: date, content_hash: str) -> int | None:
    for version in versions():
        if (version.log_day, version.content_hash, version.pruned_at) == (log_day, content_hash, None):
            return version.version
    return None


def _create_version(folder: Path, tags: dict[str, str], metrics: dict[str, float], params: dict[str, str]) -> int:
    """One MLflow run with the folder as artifact, then the version: a process killed between leaves no version."""
    client, name = _client(), settings().model_name
    run = client.create_run(_experiment(), run_name=f"{name} {tags['log_day']}", tags=tags)
    for key, value in params.items():
        client.log_param(run.info.run_id, key, value)
    _log_metrics(run.info.run_id, metrics)
    client.log_artifacts(run.info.run_id, str(folder), MODEL_FOLDER)
    client.set_terminated(run.info.run_id)
    _ensure_model()
    source = f"{run.info.artifact_uri}/{MODEL_FOLDER}"
    return int(client.create_model_version(name, source, run_id=run.info.run_id, tags=tags).version)


def _experiment() -> str:
    """Id of the experiment of the model's name; a tracking server keeps its own artifact root unless one is set."""
    client, name = _client(), settings().model_name
    known = client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    served = settings().registry_uri.startswith("http") and not settings().mlflow_artifacts
    return str(client.create_experiment(name, artifact_location=None if served else settings().artifact_root))


def _ensure_model() -> None:
    if not _model():
        _client().create_registered_model(settings().model_name)


def _model() -> Any:
    """MLflow's registered model, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return _client().get_registered_model(settings().model_name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _aliases() -> dict[int, tuple[str, ...]]:
    by_version: dict[int, tuple[str, ...]] = {}
    model = _model()
    for alias, version in sorted((model.aliases if model else {}).items()):
        by_version[int(version)] = (*by_version.get(int(version), ()), alias)
    return by_version


def _version(entity: Any, aliases: dict[int, tuple[str, ...]]) -> ModelVersion:
    tags, number = entity.tags, int(entity.version)
    return ModelVersion(
        version=number,
        run_id=entity.run_id,
        log_day=parse_day(tags["log_day"]),
        trained_from=parse_day(tags["trained_from"]),
        trained_through=parse_day(tags["trained_through"]),
        base_version=int(tags["base_version"]) if "base_version" in tags else None,
        content_hash=tags["content_hash"],
        verdict=tags.get("verdict"),
        promoted_at=tags.get("promoted_at"),
        promoted_by=tags.get("promoted_by"),
        promoted_reason=tags.get("promoted_reason"),
        rolled_back_at=tags.get("rolled_back_at"),
        rolled_back_by=tags.get("rolled_back_by"),
        rolled_back_reason=tags.get("rolled_back_reason"),
        pruned_at=tags.get("pruned_at"),
        aliases=aliases.get(number, ()),
        created_at=datetime.fromtimestamp(entity.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
    )


def _holder(known: list[ModelVersion], alias: str) -> ModelVersion | None:
    return next((version for version in known if alias in version.aliases), None)


def _promoted(known: list[ModelVersion], number: int) -> ModelVersion:
    target = next((version for version in known if version.version == number), None) or get(number)
    if target.promoted_at is None:
        raise InvalidInputError(
            f"Version {number} was never promoted, so it cannot be rolled back to. "
            f"`ctr promote {number}` makes it champion."
        )
    if target.pruned_at:
        download(number)  # raises with what to do
    return target


def _predecessor(known: list[ModelVersion], current: ModelVersion) -> ModelVersion | None:
    """The version that was champion before, by time of promotion; None for the first one."""
    before = [
        version
        for version in known
        if version.in_history and version is not current and (version.promoted_at or "") < (current.promoted_at or "~")
    ]
    return max(before, key=lambda version: version.promoted_at or "", default=None)


def _needed(known: list[ModelVersion]) -> set[int]:
    """The champion, its predecessor, and what they continue."""
    current = _holder(known, CHAMPION)
    serving = [current, _predecessor(known, current)] if current else []
    return {
        number
        for version in serving
        if version
        for number in (version.version, version.base_version)
        if number is not None
    }


def _artifacts(version: ModelVersion) -> str:
    return _client().get_run(version.run_id).info.artifact_uri or ""


def _copy(version: ModelVersion) -> Path:
    """Where a version from a remote artifact store is copied to."""
    return settings().home / "models" / f"{version.version}-{version.run_id}"


def _log_metrics(run_id: str, metrics: dict[str, float]) -> None:
    for name, value in metrics.items():
        if isfinite(value):
            _client().log_metric(run_id, name, value)


def _set_tags(version: int, **tags: str) -> None:
    for key, value in tags.items():
        _client().set_model_version_tag(settings().model_name, str(version), key, value)


def _delete_tag(version: int, key: str) -> None:
    """Removes a tag; one that is not there is no error."""
    client, name = _client(), settings().model_name
    if key in client.get_model_version(name, str(version)).tags:
        client.delete_model_version_tag(name, str(version), key)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _exists() -> bool:
    """False for a SQLite registry that nothing has written yet: reading it needs no database of a hundred tables."""
    uri = settings().registry_uri
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def _client() -> "MlflowClient":
    return _client_of(settings().registry_uri)


@lru_cache(maxsize=4)
def _client_of(uri: str) -> "MlflowClient":
    """MLflow's client, without its telemetry, progress bars and migration chatter."""
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


@contextmanager
def _lock() -> Iterator[None]:
    """One writer at a time among the processes that share `home`.

    With a tracking server and several machines each single step is still one transaction of its database.
    """
    path = settings().home / "registry.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
