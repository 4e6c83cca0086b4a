"""Which model versions were trained on rows that were replaced since, and from which version the next candidate starts.

A version records the build of the training rows of each day that it was trained on, and the version that it continues. It is
outdated where one of these builds, or of those of the versions before it, has been replaced by one that differs in more than
`CTR_OUTDATED_SHARE` of its rows or clicks, or that was made by other settings or with other columns. A day that is gone from
the lake has not been replaced.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache

from include.calendar import ONE_DAY
from include.lake.lake import Lake
from include.lake.row_sketch import differing_share
from include.records import Train
from include.registry.model_version import ModelVersion
from include.registry.registry import CHAMPION, holder, promoted_before, versions
from include.settings import get_settings

ReplacedDays = dict[date, float]
"""Days that a version was trained on and that were replaced since: the share of rows, or of clicks, that differs."""


@dataclass(frozen=True)
class Base:
    """The promoted version that the candidate of a day continues, None for none; `outdated` are the newer ones."""

    version: ModelVersion | None
    outdated: dict[int, ReplacedDays]

    def why(self) -> str:
        """Return a sentence that says which versions are passed over, and why; empty where none is."""
        return " ".join(sentence(version, days) for version, days in self.outdated.items())


def outdated_versions(lake: Lake, all_versions: Sequence[ModelVersion]) -> dict[int, ReplacedDays]:
    """Return the outdated ones of these versions, which have to hold every version that one of them continues."""

    @cache
    def current_build(day: date) -> str | None:
        manifest = lake.manifest("training", day)
        return manifest.build if manifest else None

    @cache
    def share(day: date, before: str, after: str) -> float:
        return differing_share(lake, day, before, after)

    outdated: dict[int, ReplacedDays] = {}
    for version in sorted(all_versions, key=lambda version: version.version):
        replaced = dict(outdated.get(version.base_version or 0, {}))
        for day, build in version.builds.items():
            now = current_build(day)
            if now not in (None, build) and (differs := share(day, build, now)) > get_settings().outdated_share:
                replaced[day] = differs
        if replaced:
            outdated[version.version] = replaced
    return outdated


def base_for(day: date, all_versions: Iterable[ModelVersion], outdated: Mapping[int, ReplacedDays]) -> Base:
    """Return the newest of the versions that was promoted by a run before `day` and is not outdated."""
    passed: dict[int, ReplacedDays] = {}
    for version in promoted_before(day, all_versions):
        if version.version not in outdated:
            return Base(version, passed)
        passed[version.version] = outdated[version.version]
    return Base(None, passed)


def outdated_champion(lake: Lake) -> tuple[ModelVersion, ReplacedDays] | None:
    """Return the champion with the days that were replaced, where it is outdated."""
    all_versions = versions()
    champion = holder(all_versions, CHAMPION)
    outdated = outdated_versions(lake, all_versions) if champion else {}
    return (champion, outdated[champion.version]) if champion and champion.version in outdated else None


def trained_on(all_versions: Iterable[ModelVersion], days: Collection[date]) -> list[ModelVersion]:
    """Return the versions trained on any of these days, themselves or through the version that they continue, oldest first."""
    trained = [
        version
        for version in all_versions
        if any(version.trained_from <= day <= version.trained_through for day in days)
    ]
    return sorted(trained, key=lambda version: version.version)


@dataclass(frozen=True)
class NextCandidate:
    """What the next night's training will do: the version that it continues, None for none, and the days it trains on.

    `seconds` is what that takes at the pace of the last training; None where nothing was trained yet.
    """

    day: date
    base: int | None
    days: int
    rows: int
    seconds: float | None

    def __str__(self) -> str:
        start = "starts from scratch" if self.base is None else f"continues version {self.base}"
        pace = "" if self.seconds is None else f", about {self.seconds:.0f} s of training"
        days = "1 day" if self.days == 1 else f"{self.days} days"
        return f"The candidate of {self.day} {start} and trains on {days} ({self.rows:,} rows{pace})."


def next_candidate(
    lake: Lake, all_versions: Sequence[ModelVersion], outdated: Mapping[int, ReplacedDays]
) -> NextCandidate | None:
    """Predict the candidate of the night after the last published day; None where no day is published."""
    published = lake.days("training")
    if not published:
        return None
    day = published[-1] + ONE_DAY
    base = base_for(day, all_versions, outdated).version
    first = day - get_settings().train_days * ONE_DAY
    new_days = [
        new_day for new_day in published if new_day >= first and (base is None or new_day > base.trained_through)
    ]
    rows = sum(lake.require("training", new_day, "The plan").table("training").rows for new_day in new_days)
    pace = _seconds_per_row(lake)
    seconds = None if pace is None else round(pace * rows, 1)
    return NextCandidate(day, base.version if base else None, len(new_days), rows, seconds)


def _seconds_per_row(lake: Lake) -> float | None:
    for day in reversed(lake.record_days(Train)):
        record = lake.record(Train, day)
        if record and record.rows:
            return record.seconds / record.rows
    return None


def sentence(version: int, replaced: ReplacedDays) -> str:
    """Return a sentence that says which days of a version were replaced."""
    days = ", ".join(f"{day} ({share:.0%})" for day, share in sorted(replaced.items()))
    return f"Version {version} is outdated: rows that it was trained on were replaced since, of {days}."
