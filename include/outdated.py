"""Which model versions have learnt rows that were replaced since, and from which version the next candidate starts.

A version knows the build of the training rows of each day that it learnt, and the version that it continues. It is outdated
where one of these builds, or of those of the versions before it, has been replaced by one that differs in more than
`CTR_OUTDATED_SHARE` of its rows or clicks, or that was made by other settings or with other columns. A day that is gone from
the lake has not been replaced.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

from include.lake import Lake
from include.registry import ModelVersion, promoted_before
from include.row_sketch import differing_share
from include.settings import settings

ReplacedDays = dict[date, float]
"""Days that a version learnt and that were replaced since: the share of rows, or of clicks, that differs."""


@dataclass(frozen=True)
class Base:
    """The promoted version that the candidate of a day continues, None for none; `outdated` are the newer ones."""

    version: ModelVersion | None
    outdated: dict[int, ReplacedDays]

    def why(self) -> str:
        """Say in a sentence which versions are passed over, and why; empty where none is."""
        return " ".join(sentence(version, days) for version, days in self.outdated.items())


def outdated_versions(store: Lake, known: Sequence[ModelVersion]) -> dict[int, ReplacedDays]:
    """Return the outdated ones of these versions, which have to hold every version that one of them continues."""

    @cache
    def current_build(day: date) -> str | None:
        manifest = store.manifest("training", day)
        return manifest.build if manifest else None

    @cache
    def share(day: date, before: str, after: str) -> float:
        return differing_share(store, day, before, after)

    found: dict[int, ReplacedDays] = {}
    for version in sorted(known, key=lambda each: each.version):
        replaced = dict(found.get(version.base_version or 0, {}))
        for day, build in version.learnt.items():
            now = current_build(day)
            if now not in (None, build) and (differs := share(day, build, now)) > settings().outdated_share:
                replaced[day] = differs
        if replaced:
            found[version.version] = replaced
    return found


def base_for(store: Lake, day: date, known: Sequence[ModelVersion]) -> Base:
    """Return the newest version promoted by a run before `day` that is not outdated."""
    outdated = outdated_versions(store, known)
    passed: dict[int, ReplacedDays] = {}
    for version in promoted_before(day, known):
        if version.version not in outdated:
            return Base(version, passed)
        passed[version.version] = outdated[version.version]
    return Base(None, passed)


def sentence(version: int, replaced: ReplacedDays) -> str:
    """Say which days of a version were replaced."""
    days = ", ".join(f"{day} ({share:.0%})" for day, share in sorted(replaced.items()))
    return f"Version {version} is outdated: rows that it learnt were replaced since, of {days}."
