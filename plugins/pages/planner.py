"""The plan of what to redo, tables and models: costly to compute, so each worker of the web server caches it for a while."""

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
    """The stages to redo, the outdated versions, and the candidate that replaces the champion if it is one of them."""

    steps: list[Redo]
    outdated: dict[int, ReplacedDays]
    replacement: NextCandidate | None
    made_at: datetime

    @classmethod
    def of(cls, lake: Lake) -> "Plan":
        """Read every manifest, the raw files of every day and the registry."""
        versions = registry.versions()
        outdated = outdated_versions(lake, versions)
        champion = registry.holder(versions, registry.CHAMPION)
        replaced = champion is not None and champion.version in outdated
        replacement = next_candidate(lake, versions, outdated) if replaced else None
        return cls(plan(lake), outdated, replacement, datetime.now(UTC))


class Planner:
    """Caches the plan; the longer it takes to compute, the longer it is kept. One request at a time computes it."""

    LEAST_SECONDS = 20.0
    SHARE = 0.05
    """The largest share of time that is spent on plans."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._lock = Lock()
        self._cached: Plan | None = None
        self._until = 0.0

    def plan(self) -> Plan:
        """Return the cached plan, or a new one if it has expired."""
        with self._lock:
            start = time.monotonic()
            if self._cached is None or start >= self._until:
                self._cached = Plan.of(self._lake)
                took = time.monotonic() - start
                self._until = start + max(self.LEAST_SECONDS, took / self.SHARE)
            return self._cached
