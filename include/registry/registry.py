"""The model registry: what this project does with MLflow.

A version is a folder of plain files (safetensors, JSON; never pickle), kept as artifacts of an MLflow run. The alias
`champion` names the version in use, `candidate` the one trained last; all else about a version is a tag.
Of promotions the tags keep the history: `promoted_at`, and `rolled_back_at` on a version that was rolled back. A version
with `pruned_at` has lost its model folder to `CTR_KEEP_VERSIONS`; what is known of it, and its reports, stay.
"""

import json
import shutil
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import EllipsisType
from typing import Any

from include.errors import InvalidInputError, MissingDataError
from include.lake.manifest import new_build
from include.registry import mlflow_store
from include.registry.model_version import ModelVersion, version_from_mlflow
from include.settings import get_settings

CHAMPION = "champion"
CANDIDATE = "candidate"
ANCHOR_NIGHTS = 14
_ROLLBACK_TAGS = ("rolled_back_at", "rolled_back_by", "rolled_back_reason")


class PrunedError(MissingDataError):
    """The files of an old version were deleted, as the settings say."""


def register(
    folder: Path,
    *,
    log_day: date,
    trained_from: date,
    trained_through: date,
    base_version: int | None,
    builds: dict[date, str],
    content_hash: str,
    metrics: dict[str, float],
    params: dict[str, Any],
    began: datetime | None = None,
) -> ModelVersion:
    """Store a model folder as a new version and give it the alias `candidate`; `began` is when its training started.

    The version that the same log day and content already have is returned instead: a rerun registers nothing new. One that was
    pruned does not count.
    """
    with mlflow_store.one_writer():
        version = _registered(log_day, content_hash)
        if version is None:
            tags = {
                "log_day": str(log_day),
                "trained_from": str(trained_from),
                "trained_through": str(trained_through),
                "builds": json.dumps({str(day): build for day, build in builds.items()}),
                "content_hash": content_hash,
            }
            if base_version is not None:
                tags["base_version"] = str(base_version)
            datasets = {f"training/{day}": build for day, build in builds.items()}
            version = mlflow_store.create_version(folder, tags, metrics, params, datasets, began)
        mlflow_store.client().set_registered_model_alias(get_settings().model_name, CANDIDATE, str(version))
    return get(version)


def versions() -> list[ModelVersion]:
    """Return every version, newest first; empty where nothing was registered yet."""
    if not mlflow_store.exists():
        return []
    client = mlflow_store.client()
    name = get_settings().model_name
    entities: list[Any] = []
    token = None
    while True:
        page = client.search_model_versions(f"name='{name}'", max_results=1000, page_token=token)
        entities += list(page)
        token = page.token
        if not token:
            break
    aliases = mlflow_store.aliases() if entities else {}
    return sorted((version_from_mlflow(entity, aliases) for entity in entities), key=lambda version: -version.version)


def get(version: int) -> ModelVersion:
    """Return one version; raises `MissingDataError` where there is no such version."""
    for entry in versions():
        if entry.version == version:
            return entry
    raise MissingDataError(
        f"Model '{get_settings().model_name}' has no version {version} in {get_settings().registry_uri}. "
        "`ctr models` lists the versions."
    )


def champion() -> ModelVersion | None:
    """Return the version in use, or None before the first promotion."""
    return holder(versions(), CHAMPION)


def promoted_before(day: date, all_versions: Iterable[ModelVersion]) -> list[ModelVersion]:
    """Return the versions that were promoted by a run before `day`, the newest first, by log day and time of promotion.

    Versions that were rolled back don't count.
    """
    promoted = [version for version in all_versions if version.in_history and version.log_day < day]
    return sorted(promoted, key=lambda version: (version.log_day, version.promoted_at or ""), reverse=True)


def anchor(day: date, all_versions: Iterable[ModelVersion]) -> ModelVersion | None:
    """Return the version that the candidate of `day` is compared with beside the champion; None where none was promoted before.

    It is the champion of 14 to 27 nights before, the same one for 14 nights, so that small losses of many nights show
    together; the first one that was ever promoted where there is none so old.
    """
    promoted = [version for version in promoted_before(day, all_versions) if not version.pruned_at]
    latest = date.fromordinal(day.toordinal() // ANCHOR_NIGHTS * ANCHOR_NIGHTS - ANCHOR_NIGHTS)
    return next((version for version in promoted if version.log_day <= latest), promoted[-1] if promoted else None)


def promote(version: int, *, reason: str, by: str, replacing: int | EllipsisType | None = ...) -> ModelVersion:
    """Make a version the champion and return it; for the champion itself nothing changes.

    `replacing` is the champion (or None) that the decision was taken against: if another one is in place by now, the
    decision is out of date and `InvalidInputError` is raised. Safe with many processes at once.
    """
    with mlflow_store.one_writer():
        target = get(version)
        current = champion()
        if current is not None and current.version == version and target.in_history:
            return target
        in_place = current.version if current else None
        if replacing is not ... and in_place not in (replacing, version):
            raise InvalidInputError(
                f"Version {version} was to replace champion {replacing}, but the champion is {in_place} by now. "
                "Clear the evaluate and gate tasks of that day, so that it is compared with this one."
            )
        mlflow_store.set_tags(version, promoted_at=_now(), promoted_by=by, promoted_reason=reason)
        mlflow_store.delete_tags(version, *_ROLLBACK_TAGS)
        mlflow_store.client().set_registered_model_alias(get_settings().model_name, CHAMPION, str(version))
        return get(version)


def rollback(to: int | None = None, *, reason: str = "rollback", by: str = "person") -> ModelVersion:
    """Make the champion before this one (or version `to`, once promoted) champion again, and return it.

    Every version that was promoted after it is tagged as rolled back, so that no later run starts from one of them.
    Raises `MissingDataError` where there is no earlier champion, `InvalidInputError` if `to` was never promoted,
    `PrunedError` where its files were deleted; then nothing changes.
    """
    with mlflow_store.one_writer():
        all_versions = versions()
        current = holder(all_versions, CHAMPION)
        if current is None:
            raise MissingDataError(
                f"Model '{get_settings().model_name}' has no champion, so nothing can be rolled back."
            )
        target = _promoted(all_versions, to) if to is not None else predecessor(all_versions, current)
        if target is None:
            raise MissingDataError(
                f"Version {current.version} has no earlier champion to return to. `ctr models` lists the versions."
            )
        if target.version == current.version:
            return target
        _refuse_pruned(target)
        for version in all_versions:
            if version.in_history and (version.promoted_at or "") > (target.promoted_at or ""):
                mlflow_store.set_tags(
                    version.version, rolled_back_at=_now(), rolled_back_by=by, rolled_back_reason=reason
                )
        mlflow_store.delete_tags(target.version, *_ROLLBACK_TAGS)
        mlflow_store.client().set_registered_model_alias(get_settings().model_name, CHAMPION, str(target.version))
        return get(target.version)


def download(version: int) -> Path:
    """Return the local folder of a version's model; copied into `{home}/models` only where the artifact store is remote."""
    from mlflow.utils.file_utils import local_file_uri_to_path

    entry = get(version)
    _refuse_pruned(entry)
    uri = mlflow_store.artifacts_uri(entry.run_id)
    if uri.startswith(("file:", "/")):
        path = Path(local_file_uri_to_path(uri)) / mlflow_store.MODEL_FOLDER
        if not path.is_dir():
            raise MissingDataError(f"The artifacts of version {version} are not in {path}: restore them from a backup.")
        return path
    path = _copy(entry)
    if not path.is_dir():
        temporary = path.with_name(f".{path.name}.{new_build()}")
        temporary.mkdir(parents=True)
        mlflow_store.client().download_artifacts(entry.run_id, mlflow_store.MODEL_FOLDER, str(temporary))
        try:
            (temporary / mlflow_store.MODEL_FOLDER).rename(path)
        except OSError:  # another process was faster; its copy is the same
            if not path.is_dir():
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return path


def prune() -> list[int]:
    """Delete the model folders of all but the newest `CTR_KEEP_VERSIONS` versions, and return the numbers of those.

    Never those of the champion, of the version that a rollback returns to, of one that either of them continues, or of the
    anchor of the next nights.
    """
    with mlflow_store.one_writer():
        all_versions = versions()
        keep = {version.version for version in all_versions[: get_settings().keep_versions]} | _needed(all_versions)
        pruned = [version for version in all_versions if version.version not in keep and not version.pruned_at]
        for version in pruned:
            # The tag first: a kill in between leaves files that nobody reads, and no version that lacks some.
            mlflow_store.set_tags(version.version, pruned_at=_now())
            mlflow_store.delete_model(version.run_id)
            shutil.rmtree(_copy(version), ignore_errors=True)
    return [version.version for version in pruned]


def log_artifacts(version: int, folder: Path) -> None:
    """Add the files of a folder (reports, tables, metrics) to a version, beside its model."""
    mlflow_store.client().log_artifacts(get(version).run_id, str(folder))


def log_metrics(version: int, metrics: dict[str, float]) -> None:
    """Add metrics to a version; a value that is not finite is left out, as MLflow's database cannot hold it."""
    mlflow_store.log_metrics(get(version).run_id, metrics)


def metrics(version: int) -> dict[str, float]:
    """Return the latest value of each metric of a version."""
    return dict(mlflow_store.client().get_run(get(version).run_id).data.metrics)


def set_verdict(version: int, verdict: str) -> None:
    """Tag a version with the gate's verdict."""
    mlflow_store.set_tags(version, verdict=verdict)


def set_outdated_notified(version: int) -> None:
    """Tag a version as one for which the notice that it is outdated was sent."""
    mlflow_store.set_tags(version, outdated_notified_at=_now())


def _registered(log_day: date, content_hash: str) -> int | None:
    for version in versions():
        if (version.log_day, version.content_hash, version.pruned_at) == (log_day, content_hash, None):
            return version.version
    return None


def holder(all_versions: list[ModelVersion], alias: str) -> ModelVersion | None:
    """Return the version that an alias names."""
    return next((version for version in all_versions if alias in version.aliases), None)


def _promoted(all_versions: list[ModelVersion], number: int) -> ModelVersion:
    target = next((version for version in all_versions if version.version == number), None) or get(number)
    if target.promoted_at is None:
        raise InvalidInputError(
            f"Version {number} was never promoted, so it cannot be rolled back to. "
            f"`ctr promote {number}` makes it champion."
        )
    return target


def predecessor(all_versions: list[ModelVersion], current: ModelVersion) -> ModelVersion | None:
    """Return the champion before this one, by time of promotion; None for the first one."""
    before = [
        version
        for version in all_versions
        if version.in_history and version is not current and (version.promoted_at or "") < (current.promoted_at or "~")
    ]
    return max(before, key=lambda version: version.promoted_at or "", default=None)


def _refuse_pruned(version: ModelVersion) -> None:
    if version.pruned_at:
        raise PrunedError(
            f"The model of version {version.version} was deleted on {version.pruned_at}, as more than CTR_KEEP_VERSIONS="
            f"{get_settings().keep_versions} versions came after it. Retrain its day, or use a version that `ctr models` does "
            "not call pruned."
        )


def _needed(all_versions: list[ModelVersion]) -> set[int]:
    """Return the champion, its predecessor, what they continue, and the anchors of the next nights."""
    current = holder(all_versions, CHAMPION)
    if current is None:
        return set()
    next_nights = [current.log_day + timedelta(days=1), current.log_day + timedelta(days=ANCHOR_NIGHTS)]
    needed = [current, predecessor(all_versions, current), *(anchor(night, all_versions) for night in next_nights)]
    return {
        number
        for version in needed
        if version
        for number in (version.version, version.base_version)
        if number is not None
    }


def _copy(version: ModelVersion) -> Path:
    """Return where a version from a remote artifact store is copied to."""
    return get_settings().home / "models" / f"{version.version}-{version.run_id}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
