"""What has to be redone, derived from the manifests alone.

A manifest names the version of each input that its build has read. A build is stale where one of them has another version
now, where an input that it should have read is not among them, or where one of them is itself to be redone.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, partial
from typing import Any

from include.calendar import days_between, parse_day
from include.days.day_status import current_version
from include.lake.lake import Lake
from include.lake.late_events import late_key
from include.lake.manifest import Manifest
from include.lake.table_ddl import table_ddl
from include.raw.deliveries import Raw
from include.schemas import schema_hash
from include.settings import get_settings, list_text, shaping
from include.stages import SPECS, STAGES, Stage

_OF_THE_LOG = ("raw/", "mapping/")
"""Inputs of a day's logs that are gone once the raw log was cleared away."""


@dataclass(frozen=True)
class Redo:
    """A stage's day that has to be made again, or for the first time, and why; `possible` is false where its raw log is gone."""

    stage: Stage
    day: date
    reasons: tuple[str, ...]
    possible: bool = True


def expected_inputs(stage: Stage, day: date, first: date) -> list[str]:
    """Return what a build of a stage's day reads, as keys of `Manifest.inputs`; `first` is the first day of the log."""
    spec = SPECS[stage]
    own = [f"raw/{day}", late_key(day)] if spec.raw else []
    read = [(name, day - timedelta(days=back)) for name, days_back in spec.inputs.items() for back in days_back]
    return [*own, *(f"{name}/{input_day}" for name, input_day in read if input_day == day or input_day >= first)]


def dependents(stage: Stage, day: date, first: date, last: date) -> Iterator[tuple[Stage, date]]:
    """Yield what is made from a stage's day, through other stages and days too, ascending.

    The log begins on `first`; days after `last` are left out.
    """
    reached = {f"{stage}/{day}"}
    for later_day in days_between(day, max(day, last)):
        for dependent in STAGES:
            if f"{dependent}/{later_day}" not in reached and not reached.isdisjoint(
                expected_inputs(dependent, later_day, first)
            ):
                reached.add(f"{dependent}/{later_day}")
                yield dependent, later_day


def plan(lake: Lake, changed: Iterable[date] = ()) -> list[Redo]:
    """Return everything to redo, in an order in which it can be done: by day, then logs, features, training.

    `changed` are days whose raw logs are known to be wrong and will be delivered again. Days between the first and the last
    published one that are not published are listed too, and a day without a raw log (a gap) as such; days before and after
    are not.
    """
    marked = set(changed)
    return list(_Plan(lake, marked).steps()) if marked or lake.days("logs") else []


def commands(days: list[date], last_published: date | None) -> list[str]:
    """Return the commands that redo these days, ascending: through Airflow, or as tables alone."""
    # A run of Airflow makes every table of its day again, which later days have read.
    span = f"--from {days[0]} --to {max(days[-1], last_published or days[-1])}"
    return [f"ctr backfill {span}", f"ctr history {span}"]


class _Plan:
    """One pass over the days, ascending; `self._redo` holds what was found so far."""

    def __init__(self, lake: Lake, changed: set[date]) -> None:
        self._lake = lake
        self._changed = changed
        self._raw = Raw()
        self._version = cache(partial(current_version, lake))
        published = {day for stage in STAGES for day in lake.days(stage)}
        self._first, self._last = min(published | changed), max(published | changed)
        self._redo: set[str] = set()

    def steps(self) -> Iterator[Redo]:
        for day in days_between(self._first, self._last):
            for stage in STAGES:
                reasons = tuple(self._reasons(stage, day))
                if reasons:
                    self._redo.add(f"{stage}/{day}")
                    yield Redo(stage, day, reasons, possible=self._possible(stage, day))

    def _possible(self, stage: Stage, day: date) -> bool:
        """Return whether it can be redone: with the raw log, or without it where the published logs may stay as they are."""
        return self._raw.has_log(day) or (stage != "logs" and f"logs/{day}" not in self._redo)

    def _reasons(self, stage: Stage, day: date) -> Iterator[str]:
        manifest = self._lake.manifest(stage, day)
        if stage == "logs" and day in self._changed:
            yield "its raw log is corrected"
        if manifest is None:
            yield "not published" if self._raw.has_log(day) else "a gap: it has no raw log"
            return
        yield from (f"{key} must be redone first" for key in manifest.inputs if key in self._redo)
        for key, change in _changes(manifest, self._first, self._version):
            if key not in self._redo:
                yield f"{key} {change}"
        yield from _rules(manifest)


def stale_inputs(lake: Lake, manifest: Manifest) -> list[str]:
    """Return the inputs of a published build that differ from what it has read: changed, gone, or new."""
    first = min(lake.days("logs"), default=parse_day(manifest.day))
    return [key for key, _ in _changes(manifest, first, partial(current_version, lake))]


def is_current(lake: Lake, stage: Stage, day: date) -> bool:
    """Return whether a stage's day is published, from its inputs as they are now and by the settings and columns of today."""
    manifest = lake.manifest(stage, day)
    return manifest is not None and not stale_inputs(lake, manifest) and not list(_rules(manifest))


def _rules(manifest: Manifest) -> Iterator[str]:
    """Yield why settings or columns make a build stale. Logs whose raw files were cleared away stay."""
    if manifest.stage == "logs" and not Raw().has_log(parse_day(manifest.day)):
        return
    yield from _changed_settings(manifest)
    for table in SPECS[manifest.stage].tables:
        version = manifest.tables.get(table)
        if version is None or version.schema != schema_hash(table_ddl(table)):
            yield f"{table} has other columns now"


def _changed_settings(manifest: Manifest) -> Iterator[str]:
    """Yield each setting that shapes the stage and has changed; a build of an earlier version does not say which."""
    names = shaping(manifest.stage)
    if isinstance(manifest.settings, str):
        if manifest.settings != get_settings().digest(*names):
            yield f"at least one of these settings has changed: {', '.join(f'CTR_{name.upper()}' for name in names)}"
        return
    for name, now in get_settings().values(*names).items():
        if name not in manifest.settings:
            yield f"CTR_{name.upper()} was not yet among its settings"
        elif (then := manifest.settings[name]) != now:
            yield f"CTR_{name.upper()} has changed from {_written(then)} to {_written(now)}"


def _written(value: Any) -> str:
    """Return a setting's value as it is set."""
    return list_text(value) if isinstance(value, list) else str(value)


def _changes(manifest: Manifest, first: date, version: Callable[[str], str | None]) -> Iterator[tuple[str, str]]:
    """Yield each input that has changed, and how; a raw log that has been cleared away has not changed."""
    expected = expected_inputs(manifest.stage, parse_day(manifest.day), first)
    for key in dict.fromkeys([*expected, *manifest.inputs]):
        then, now = manifest.inputs.get(key), version(key)
        if now == then or (key.startswith(_OF_THE_LOG) and now is None):
            continue
        if then is None:
            yield key, "was not there when it was made"
        else:
            is_input = key in expected or key.startswith(_OF_THE_LOG)
            yield key, "has changed since" if now and is_input else "is no longer its input"
