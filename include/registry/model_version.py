"""One version of the model as the registry knows it, read from MLflow's tags."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from include.calendar import parse_day


@dataclass(frozen=True)
class ModelVersion:
    """One registered model: what it was trained on, what the gate said, and whether it was ever in use.

    `log_day` is the day whose run trained it; `trained_from`..`trained_through` the days of its training rows, both
    included; `base_version` the version it was warm-started from, `builds` the build of the training rows of each day that it
    was trained on itself; times are ISO 8601, UTC.
    """

    version: int
    run_id: str
    log_day: date
    trained_from: date
    trained_through: date
    base_version: int | None
    builds: dict[date, str]
    content_hash: str
    verdict: str | None
    promoted_at: str | None
    promoted_by: str | None
    promoted_reason: str | None
    rolled_back_at: str | None
    rolled_back_by: str | None
    rolled_back_reason: str | None
    pruned_at: str | None
    outdated_notified_at: str | None
    aliases: tuple[str, ...]
    created_at: str

    @property
    def in_history(self) -> bool:
        """True if it was promoted and not rolled back since."""
        return self.promoted_at is not None and self.rolled_back_at is None


def version_from_mlflow(entity: Any, aliases: dict[int, tuple[str, ...]]) -> ModelVersion:
    """Return a version from an MLflow model version and the aliases of all versions."""
    tags = entity.tags
    number = int(entity.version)
    return ModelVersion(
        version=number,
        run_id=entity.run_id,
        log_day=parse_day(tags["log_day"]),
        trained_from=parse_day(tags["trained_from"]),
        trained_through=parse_day(tags["trained_through"]),
        base_version=int(tags["base_version"]) if "base_version" in tags else None,
        builds={parse_day(day): build for day, build in json.loads(tags.get("builds", "{}")).items()},
        content_hash=tags["content_hash"],
        verdict=tags.get("verdict"),
        promoted_at=tags.get("promoted_at"),
        promoted_by=tags.get("promoted_by"),
        promoted_reason=tags.get("promoted_reason"),
        rolled_back_at=tags.get("rolled_back_at"),
        rolled_back_by=tags.get("rolled_back_by"),
        rolled_back_reason=tags.get("rolled_back_reason"),
        pruned_at=tags.get("pruned_at"),
        outdated_notified_at=tags.get("outdated_notified_at"),
        aliases=aliases.get(number, ()),
        created_at=datetime.fromtimestamp(entity.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
    )
