"""What has to be redone, of tables and models: costly to find, so kept for a while by each worker of the web server."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock

from include.days.backfill_plan import Redo, plan
from include.lake.lake import Lake
from include.registry import registry
from include.registry.outdated import NextCandidate, ReplacedDays, next_candidate, outdated_versions


@dataclass(frozen=True)
class Plan:
    """The stages to redo, the outdated versions, and the candidate that replaces the champion where that is one of them."""

    steps: list[Redo]
    outdated: dict[int, ReplacedDays]
    replacement: NextCandidate | None
    made_at: datetime

    @classmethod
    def of(cls, store: Lake) -> "Plan":
        """Read every manifest, the raw files of every day and the registry."""
        known = registry.versions()
        outdated, champion = outdated_versions(store, known), registry.holder(known, registry.CHAMPION)
        replaced = champion is not None and champion.version in outdated
        replacement = next_candidate(store, known, outdated) if replaced else None
        return cls(plan(store), outdated, replacement, datetime.now(UTC))


class Planner:
    """The plan, kept for a while that grows with what it takes, and made by one request at a time."""

    LEAST_SECONDS = 20.0
    SHARE = 0.05
    """Of the time, at most this is spent on plans."""

    def __init__(self, store: Lake) -> None:
        self._store = store
        self._lock = Lock()
        self._made: Plan | None = None
        self._until = 0.0

    def plan(self) -> Plan:
        """Return the plan as it was found at most a while ago."""
        with self._lock:
            start = time.monotonic()
            if self._made is None or start >= self._until:
                self._made = Plan.of(self._store)
                took = time.monotonic() - start
                self._until = start + max(self.LEAST_SECONDS, took / self.SHARE)
            return self._made
