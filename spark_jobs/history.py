"""All three stages of many days in one Spark session: the quick way to load a first history.

    spark-submit spark_jobs/history.py --from 2023-07-10 --to 2023-07-16

Each stage of a day is audited and published before the next one reads it; two steps run at a time, for example the logs of
one day beside the features of the day before. A critical failure stops the run at that day. Days that are published and not
stale are left alone, so a stopped run can be resumed; `--again` rebuilds all of them.
"""

import importlib
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import date, timedelta
from typing import Annotated

import typer

from include.calendar import days_between, previous
from include.days.backfill_plan import is_current
from include.lake.lake import get_lake
from include.stages import SPECS, STAGES, Stage
from spark_jobs.session import get_session
from spark_jobs.stage import Build, FirstDay, LastDay, emit, exit_clearly, prepare_audit, stage_day

Step = tuple[Stage, date]


def builder(stage: Stage) -> Build:
    """Return the function that stages a day's tables of a stage, from the module of its job."""
    build: Build = importlib.import_module(f"spark_jobs.{SPECS[stage].job}").build
    return build


def needs(stage: Stage, day: date) -> set[Step]:
    """Return the steps that have to be published before a stage's day.

    These are its inputs, and the day before of the same stage, with which its audit compares it.
    """
    read = {(name, day - timedelta(days=back)) for name, days in SPECS[stage].inputs.items() for back in days}
    return read | {(stage, previous(day))}


def run(days: Sequence[date], work: Callable[[Stage, date], object], workers: int = 2) -> None:
    """Call `work` for every stage and day, in an order that respects `needs`, several at a time.

    When a step fails, the steps of earlier days that do not need it are finished; then its error is raised.
    """
    waiting = [(stage, day) for day in days for stage in STAGES]
    running: dict[Future[object], Step] = {}
    failed: dict[Step, BaseException] = {}
    with ThreadPoolExecutor(workers) as pool:
        while True:
            limit = min((day for _, day in failed), default=date.max)
            unfinished = {*waiting, *running.values(), *failed}
            for step in [step for step in waiting if step[1] <= limit]:
                if len(running) < workers and unfinished.isdisjoint(needs(*step)):
                    waiting.remove(step)
                    running[pool.submit(work, *step)] = step
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                step = running.pop(future)
                if error := future.exception():
                    failed[step] = error
    if failed:
        raise failed[min(failed, key=lambda step: step[1])]


def main(
    first: FirstDay,
    last: LastDay,
    again: Annotated[bool, typer.Option("--again", help="also rebuild days that are published and not stale")] = False,
) -> None:
    """Load a history: logs, features and training rows of each day, in order, where they are missing or stale."""
    days = list(days_between(first, last))
    prepare_audit()
    spark = get_session(f"history {days[0]}..{days[-1]}")
    lake = get_lake()

    def work(stage: Stage, day: date) -> None:
        if again or not is_current(lake, stage, day):
            stage_day(spark, lake, stage, day, builder(stage), publish=True)
        else:
            emit(stage, day, "current")

    run(days, work)


if __name__ == "__main__":
    exit_clearly(main)
