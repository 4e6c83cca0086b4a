"""One night without Airflow: what the tasks of `ctr_daily` do for a log day, step by step, for `ctr night`.

Tables are built by the Spark job `history`, which audits and publishes each stage and leaves what is current as it is. The
commands of training are those of the DAG's tasks. Finished steps are noted in `{home}/nights/{day}.json`: the same night, stopped
and started again, continues with the first step that is not finished, unless its inputs have changed.
"""

import fcntl
import hashlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from include.calendar import WINDOW_DAYS, previous
from include.days.backfill_plan import is_current
from include.errors import CtrError, MissingDataError, NothingToDoError
from include.lake.lake import Lake, get_lake
from include.lake.model_records import records_of_day
from include.orchestration.decision import apply_decision, next_step, record_refusal, why_kept
from include.orchestration.spark_submit import submit
from include.orchestration.training_process import run_logged
from include.plural import counted
from include.raw.completeness import waits_for
from include.raw.deliveries import Raw
from include.records import Decision
from include.registry import registry
from include.registry.outdated import base_for, outdated_versions
from include.settings import get_settings
from include.stages import STAGES
from include.version import code_version

log = logging.getLogger(__name__)

DECIDE = "promotion"
REPORT = "report"
STEPS = (*STAGES, "embed-texts", "embed-cold", "train", "evaluate", "monitor", "gate", DECIDE, REPORT)
"""The steps of a night: the stages of its tables, then commands of `python -m training` and the promotion."""
_LOOK_SECONDS = 5


@dataclass(frozen=True)
class Event:
    """A step that starts, has ended, or is left out (`skipped`: it was done before, or there is nothing to do)."""

    step: str
    state: Literal["start", "done", "skipped"]
    detail: str = ""
    seconds: float = 0.0


class _Finished(BaseModel):
    """The steps of a day's night that are finished, with their options, and the digest of what they were made from."""

    inputs: str = ""
    steps: list[str] = []


def next_day(lake: Lake) -> date:
    """Return the newest day after the last evaluated one whose log is complete, or one of them whose night was begun.

    Where none is complete, the newest day is returned, whose log is waited for. Raises `NothingToDoError` where none has a log.
    """
    raw = Raw()
    days = list(takewhile(lambda day: not _is_finished(lake, day), reversed(raw.days())))
    complete = [day for day in days if not waits_for(raw, day)]
    if days:
        return next((day for day in complete if _read(day)), (complete or days)[0])
    raise NothingToDoError(
        f"No log in {raw.url} is newer than the last day that was evaluated. Next: deliver one, or name a day to run again with "
        "--day."
    )


def wait_for_log(day: date) -> Iterator[str]:
    """Yield what the day's log waits for, every few seconds until it is complete.

    Raises `MissingDataError` where it has no file, or is not complete after `CTR_RAW_WAIT_SECONDS`.
    """
    end = time.monotonic() + get_settings().raw_wait_seconds
    while missing := waits_for(Raw(), day):
        if not Raw().has_log(day) or time.monotonic() >= end:
            raise MissingDataError(
                f"The log of {day} is not complete: {missing}\nNext: deliver what is missing and repeat the command. "
                "CTR_RAW_COMPLETE says when a log is complete, CTR_RAW_WAIT_SECONDS how long a night waits for that."
            )
        yield missing
        time.sleep(_LOOK_SECONDS)


def refuse_without_history(lake: Lake, day: date) -> None:
    """Raise `MissingDataError` where the days before, which features and training need, are not published."""
    window = [day - timedelta(days=back) for back in range(get_settings().train_days, 0, -1)]
    published = [before for before in window if _rows(lake, before)]
    if published and lake.manifest("features", previous(day)):
        return
    last = published[-1] if published else None
    raw = [before for before in Raw().days() if (last or window[0]) < before < day]
    until = previous(day)
    way = (
        f"deliver the raw logs of days before (`ctr sample` generates some), then `ctr history --from DAY --to {until}`"
    )
    if raw:
        way = f"`ctr history --from {raw[0]} --to {until}` ({counted(len(raw), 'day')} with raw files)"
    found = f"the last are those of {last}" if last else "no day before is published"
    raise MissingDataError(
        f"A night of {day} trains on the days before it and continues their counts: expected published tables of {until}, "
        f"found: {found}. One day before is enough to run; {WINDOW_DAYS} or more fill the features of {WINDOW_DAYS} days.\n"
        f"Next: {way}."
    )


@contextmanager
def one_night_at_a_time() -> Iterator[None]:
    """Hold the lock of this home's nights; raises `CtrError` where another process holds it."""
    path = _folder() / "lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CtrError(
                f"Another `ctr night` runs on {get_settings().home}: expected one at a time. Next: wait until it has ended."
            ) from None
        yield


def run_night(day: date, promote: Literal["auto", "yes", "no"] = "auto", *, scratch: bool = False) -> Iterator[Event]:
    """Run the steps of a night that are not finished, and yield them as they start and end.

    `promote`: `auto` promotes what passes the gate unless a later day was judged before. The report is written after a
    failure too, then its error is raised; that of `monitor`, on which nothing depends, at the end.
    """
    lake = get_lake()
    if _read(day) is None:
        _write(day, _Finished())
    try:
        yield from _tables(lake, day)
        yield from _model(day, _commands(lake, day, promote, scratch), _inputs(lake, day, scratch))
    except CtrError:
        try:
            run_logged(log_path(day), REPORT, "--day", str(day))
        except CtrError:
            log.warning("The report of this night could not be written: %s has the reason.", log_path(day))
        raise


def log_path(day: date) -> Path:
    """Return the file with the log of a night's training commands."""
    return _folder() / f"{day}.log"


def _tables(lake: Lake, day: date) -> Iterator[Event]:
    if all(is_current(lake, stage, day) for stage in STAGES):  # Spark needs not start
        yield from (Event(stage, "skipped", "current") for stage in STAGES)
        return
    for event in submit("history", day, day):
        if event["state"] == "start":
            yield Event(event["stage"], "start")
        elif event["state"] == "current":
            yield Event(event["stage"], "skipped", "current")
        elif event["state"] == "published":
            detail = f"{event['rows']:,} rows, checks: {event['status']}"
            yield Event(event["stage"], "done", detail, event["seconds"])


def _commands(lake: Lake, day: date, promote: str, scratch: bool) -> list[list[str]]:
    """Return the steps after the tables, each with its options."""
    judged_later = any(judged > day for judged in lake.record_days(Decision))
    may_promote = promote == "yes" or (promote == "auto" and not judged_later)
    options = {
        "train": ["--scratch" if scratch else "--no-scratch"],
        "gate": ["--may-promote" if may_promote else "--no-may-promote"],
    }
    return [[step, *options.get(step, [])] for step in STEPS if step not in STAGES]


def _model(day: date, commands: list[list[str]], inputs: str) -> Iterator[Event]:
    """Run the steps after the tables, from the first that is not finished on."""
    finished = _Finished(inputs=inputs, steps=_finished_before(day, commands, inputs))
    for step, *_ in commands[: len(finished.steps)]:
        yield Event(step, "skipped", "done before")
    failed: CtrError | None = None
    while len(finished.steps) < len(commands):
        step, *options = commands[len(finished.steps)]
        yield Event(step, "start")
        began = time.monotonic()
        detail = ""
        try:
            detail = _run_step(day, step, options)
            finished.steps.append(" ".join((step, *options)))
        except NothingToDoError as nothing:
            detail = f"{nothing} Only the report is left to write."
            finished.steps = [" ".join(command) for command in commands[:-1]]
        except CtrError as error:
            if step != "monitor":
                raise
            failed = error
            finished.steps.append(step)
        if failed is None:  # else the same command repeats it
            _write(day, finished)
        yield Event(step, "done", detail, round(time.monotonic() - began, 2))
    if failed:
        raise failed


def _finished_before(day: date, commands: list[list[str]], inputs: str) -> list[str]:
    """Return the first steps as far as they are finished, with the same options and from the same inputs."""
    before = _read(day)
    done = before.steps if before and before.inputs == inputs else []
    pairs = zip(done, map(" ".join, commands), strict=False)
    return [step for step, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]


def _run_step(day: date, step: str, options: list[str]) -> str:
    """Run a step and return what there is to say about it."""
    if step == DECIDE:
        return _decide(day)
    return " ".join(run_logged(log_path(day), step, "--day", str(day), *options))


def _decide(day: date) -> str:
    """Follow the gate's verdict as the DAG does, but for a held candidate, which a person may promote later."""
    step = next_step(day)
    if step == "promote":
        return f"version {apply_decision(day, by='gate').candidate} is the champion"
    if step == "ask_a_person":
        return "held: the champion stays unless a person promotes the candidate"
    reason = why_kept(day)
    record_refusal(day, by="gate", reason=reason)
    return f"the champion stays: {reason}"


def _inputs(lake: Lake, day: date, scratch: bool) -> str:
    """Return a hash of what the model of a night is made from: tables, settings, code and the version that it continues."""
    window = [day - timedelta(days=back) for back in range(get_settings().train_days + 1)]
    builds = {
        f"{stage}/{before}": manifest.build
        for before in window
        for stage in STAGES
        if (manifest := lake.manifest(stage, before))
    }
    versions = registry.versions()
    base = None if scratch else base_for(day, versions, outdated_versions(lake, versions)).version
    content = [builds, get_settings().digest(), code_version(), base and base.version]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _is_finished(lake: Lake, day: date) -> bool:
    """Return whether a night of the day has ended, here or in Airflow."""
    if here := _read(day):
        return any(step.split()[0] == REPORT for step in here.steps)
    return records_of_day(lake, day).decision is not None


def _rows(lake: Lake, day: date) -> int:
    manifest = lake.manifest("training", day)
    return manifest.table("training").rows if manifest else 0


def _folder() -> Path:
    folder = get_settings().home / "nights"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read(day: date) -> _Finished | None:
    path = _folder() / f"{day}.json"
    return _Finished.model_validate_json(path.read_text()) if path.exists() else None


def _write(day: date, finished: _Finished) -> None:
    path = _folder() / f"{day}.json"
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(finished.model_dump_json())
    unfinished.replace(path)
