"""The manifest of a published or staged day: which build of each table it names, and from which inputs it was made."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from include.errors import MissingDataError
from include.stages import Stage


@dataclass(frozen=True)
class TableVersion:
    """One table of a published or staged day: its folder under the lake, rows, bytes and hash of its schema."""

    path: str
    rows: int
    bytes: int
    schema: str


@dataclass(frozen=True)
class Manifest:
    """What one stage published for one day, and from which inputs.

    `inputs` maps `stage/day` (or `raw/day`, `late/day`) to the build (or a digest of the raw files, of the late events) that
    was read; `settings` holds the values of those that shape the stage (`settings.shaping`), in manifests of earlier versions
    of the code a hash of them. `profile` of `logs` holds
    `{"rows", "clicks", "scenes": {scene: {"rows", "clicks"}}}`, what later days are compared with, and `late`, what it holds
    of earlier days: `{day: {"rows", "digest"}}`.
    """

    stage: Stage
    day: str
    build: str
    tables: dict[str, TableVersion]
    rows_in: int
    inputs: dict[str, str]
    code_version: str
    settings: dict[str, Any] | str
    created_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    profile: dict[str, Any] = field(default_factory=dict)

    def table(self, name: str) -> TableVersion:
        """Return the version of a table; raises `MissingDataError` where an earlier version of the code made no such table."""
        if name not in self.tables:
            raise MissingDataError(
                f"{self.stage} of {self.day} were made by an earlier version of the code, without the table '{name}' (found "
                f"{', '.join(self.tables)}). `ctr backfill-plan` lists what to redo."
            )
        return self.tables[name]

    @classmethod
    def from_json(cls, data: Any) -> "Manifest":
        """Return a manifest from the JSON that `asdict` gives; raises pydantic's `ValidationError`."""
        return TypeAdapter(cls).validate_python(data)


def new_build() -> str:
    """Return a unique name for a build."""
    return uuid.uuid4().hex[:12]
