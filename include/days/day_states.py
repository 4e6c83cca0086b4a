"""The state of a log day: one word used everywhere, since when, until when, and what a person can do about it.

Derived each time from the lake's records, the plan of what to redo, and Airflow's run of the day where it is reachable.
The pages, `ctr status`, notices and reports all use these words.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, computed_field

from include.days.backfill_plan import Redo
from include.days.runs import Hindrance, Run
from include.days.task_advice import advice
from include.errors import DamagedFileError
from include.lake.lake import Lake
from include.lake.lenient_lake import LenientLake
from include.lake.model_records import records_of_day
from include.raw.deliveries import Raw
from include.records import Decision, Wait
from include.settings import get_settings
from include.stages import CHECKED, STAGES, Checked


class State(StrEnum):
    """The state of a log day, as people read it."""

    WAITING = "waiting for its log"
    NO_LOG = "no log came"
    NOT_RUN = "not run"
    QUEUED = "queued"
    STUCK = "queued behind a cancelled backfill"
    RUNNING = "running"
    HELD = "held"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"
    OUTDATED = "outdated"
    CURRENT = "current"
    DAMAGED = "damaged file"


UNDER_WAY = (State.WAITING, State.QUEUED, State.RUNNING)
"""A day in one of these is being made: what is missing of it need not be redone."""


class DayState(BaseModel, frozen=True):
    """The state of a day; `detail` says more, `next_step` what a person can do, empty where there is nothing to do.

    `needs_person` says whether the day stays as it is until a person acts.
    """

    day: date
    state: State
    detail: str
    since: datetime | None = None
    until: datetime | None = None
    next_step: str = ""
    needs_person: bool = False

    @property
    def words(self) -> str:
        """The state in a few words, with the task where there is one."""
        return f"{self.state}: {self.detail}" if self.state in (State.RUNNING, State.FAILED) else str(self.state)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def under_way(self) -> bool:
        """True if its run is queued or running, so that what is missing is about to be made."""
        return self.state in UNDER_WAY


@dataclass(frozen=True)
class DayFacts:
    """The facts about a day: its run (None where Airflow has none or is not reachable), and what the lake holds.

    `failed_stage` is the first whose checks failed on what was staged last; `decision` is the one on `version`, the candidate
    that the day has trained last.
    """

    day: date
    run: Run | None = None
    wait: Wait | None = None
    has_log: bool = False
    published: bool = False
    redo: tuple[Redo, ...] = ()
    failed_stage: Checked | None = None
    version: int | None = None
    decision: Decision | None = None
    damage: DamagedFileError | None = None


def states(
    lake: Lake, days: Iterable[date], runs: Mapping[date, Run], plan: Iterable[Redo], now: datetime | None = None
) -> dict[date, DayState]:
    """Return the states of these days; `runs` are those that Airflow has, `plan` is that of the whole lake (`backfill_plan`)."""
    steps: dict[date, list[Redo]] = {}
    for step in plan:
        steps.setdefault(step.day, []).append(step)
    now = now or datetime.now(UTC)
    lenient = LenientLake(lake.url)
    return {day: state_of(_facts(lenient, day, runs.get(day), steps.get(day, [])), now) for day in days}


def _facts(lake: LenientLake, day: date, run: Run | None, redo: list[Redo]) -> DayFacts:
    records = records_of_day(lake, day)
    manifests = {stage: lake.manifest(stage, day) for stage in STAGES}
    facts = DayFacts(
        day=day,
        run=run,
        wait=lake.record(Wait, day),
        has_log=Raw().has_log(day),
        published=manifests["logs"] is not None,
        redo=tuple(redo),
        failed_stage=_failed_stage(lake, day),
        version=records.version,
        decision=records.decision,
    )
    return replace(facts, damage=lake.damaged.get(day))


def _failed_stage(lake: Lake, day: date) -> Checked | None:
    """Return the first stage whose last audit failed."""
    records = ((stage, lake.quality(stage, day)) for stage in CHECKED)
    return next((stage for stage, record in records if record and record.status == "fail"), None)


def state_of(facts: DayFacts, now: datetime) -> DayState:
    """Return the state of a day from the facts about it."""
    run = facts.run
    if facts.damage and not (run and run.state in ("queued", "running")):
        return DayState(
            day=facts.day,
            state=State.DAMAGED,
            detail=facts.damage.found,
            next_step=facts.damage.next_step[0].upper() + facts.damage.next_step[1:],
            needs_person=True,
        )
    if run and run.state == "queued":
        return _queued(facts, run)
    if run and run.state == "running":
        return _running(facts, run)
    if run and run.state == "failed":
        return _failed(facts, [task.task_id for task in run.failed], run.end) if run.failed else _cancelled(facts, run)
    return _at_rest(facts, now)


def rerun(day: date) -> str:
    """Return how to run a day again: by command, or in Airflow."""
    return f"`ctr backfill --from {day} --to {day}`, or in Airflow Trigger, Single Run, with day = {day}"


def without_log(day: date, *, waiting: bool) -> str:
    """Return what to do about a missing log, while its run waits for it or after."""
    raw = Raw()
    here = f"`{'/'.join(filter(None, (raw.url, raw.files.folder(day))))}`"
    empty = f"If nothing was logged, set `CTR_EMPTY_DAYS={day}`"
    if waiting:
        return f"Deliver what is missing to {here}; its run goes on within a minute. {empty}."
    return f"Deliver what is missing to {here}, then run it: {rerun(day)}. {empty} first."


def describe_wait(wait: Wait) -> str:
    """Return since when and until when a run waits, or waited, and what for."""
    if wait.gave_up_at:
        span = f"Its run waited from {_moment(wait.since)} until {_moment(wait.gave_up_at)} and was skipped."
        return f"{span} At its last look: {wait.waits_for}" if wait.waits_for else span
    return f"{_expected(wait)} Its run waits until {_moment(wait.until)} and is skipped then."


def _expected(wait: Wait) -> str:
    return f"Expected by {_moment(wait.due)}. {wait.waits_for}".strip()


def _queued(facts: DayFacts, run: Run) -> DayState:
    blocked: dict[Hindrance | None, tuple[str, str]] = {
        "cancelled backfill": (
            "Airflow never starts a run of a backfill that was cancelled, and a new backfill leaves out a day that is queued.",
            f"Free it and run it: {rerun(facts.day)}.",
        ),
        "paused backfill": ("Its backfill is paused.", "Unpause the backfill in Airflow."),
        "paused DAG": ("The DAG is paused.", "Unpause ctr_daily in Airflow."),
        None: (
            "Waits for its turn: one run at a time.",
            "If the run before it waits for a log that will not come, mark that run failed in Airflow.",
        ),
    }
    detail, next_step = blocked[run.hindrance]
    return DayState(
        day=facts.day,
        state=State.STUCK if run.hindrance == "cancelled backfill" else State.QUEUED,
        detail=detail,
        since=run.queued,
        next_step=next_step,
        needs_person=run.hindrance is not None,
    )


def _running(facts: DayFacts, run: Run) -> DayState:
    busy = {task.task_id: task for task in run.busy}
    wait = facts.wait
    if "wait_for_raw" in busy and wait and not wait.gave_up_at and not wait.came_at:
        return DayState(
            day=facts.day,
            state=State.WAITING,
            detail=_expected(wait),
            since=wait.since,
            until=wait.until,
            next_step=without_log(facts.day, waiting=True) if wait.notified_at else "",
        )
    if "ask_a_person" in busy and busy["ask_a_person"].state == "awaiting_input":
        asked_at = busy["ask_a_person"].start
        return DayState(
            day=facts.day,
            state=State.HELD,
            detail=_reasons(facts),
            since=asked_at,
            until=asked_at + timedelta(seconds=get_settings().approval_seconds) if asked_at else None,
            next_step="Decide in Airflow under Required Actions; without an answer the champion stays.",
            needs_person=True,
        )
    retried = {name for name, task in busy.items() if task.state == "up_for_retry"}
    names = (f"{name} (failed, is tried again)" if name in retried else name for name in busy)
    return DayState(
        day=facts.day,
        state=State.RUNNING,
        detail=", ".join(names) or "between two tasks",
        since=run.start,
    )


def _failed(facts: DayFacts, tasks: list[str], since: datetime | None) -> DayState:
    return DayState(
        day=facts.day,
        state=State.FAILED,
        detail=", ".join(tasks),
        since=since,
        next_step=advice(tasks[0], facts.day),
        needs_person=True,
    )


def _cancelled(facts: DayFacts, run: Run) -> DayState:
    """Return the state of a failed run without a failed task: its backfill was cancelled, or a person marked it."""
    current = facts.published and not facts.redo
    began = (
        f"after {', '.join(done)}"
        if (done := [t.task_id for t in run.tasks if t.state == "success"])
        else "before it began"
    )
    remains = (
        "what an earlier run made is current" if current else _redo(facts.redo) or "nothing of the day is published"
    )
    return DayState(
        day=facts.day,
        state=State.CANCELLED,
        detail=f"Its run was ended by hand, or with its backfill, {began}; {remains}.",
        since=run.end,
        next_step=f"{'To run it anyway' if current else 'Run it again'}: {rerun(facts.day)}.",
        needs_person=not current,
    )


def _at_rest(facts: DayFacts, now: datetime) -> DayState:
    """Return the state of a day whose run has succeeded, or that has no run in Airflow."""
    day, wait = facts.day, facts.wait
    if wait and not (wait.gave_up_at or wait.came_at or facts.run or facts.published) and now < wait.until:
        return DayState(day=day, state=State.WAITING, detail=_expected(wait), since=wait.since, until=wait.until)
    if not facts.published and not facts.has_log:
        detail = describe_wait(wait) if wait and wait.gave_up_at else "No run has waited for it until its end."
        return DayState(
            day=day,
            state=State.NO_LOG,
            detail=detail,
            since=wait.gave_up_at if wait else None,
            next_step=without_log(day, waiting=False),
            needs_person=True,
        )
    if facts.run is None and facts.failed_stage:
        task = "evaluate" if facts.failed_stage == "model" else f"check_{facts.failed_stage}"
        return _failed(facts, [task], None)
    if not facts.published:
        waited = f" {describe_wait(wait)}" if wait and wait.gave_up_at else ""
        return DayState(
            day=day,
            state=State.NOT_RUN,
            detail=f"Its log is there.{waited}",
            next_step=f"Run it: {rerun(day)}.",
            needs_person=True,
        )
    if facts.redo:
        possible = all(step.possible for step in facts.redo)
        way = "`ctr backfill-plan` names the days to redo with it, and the command."
        return DayState(
            day=day,
            state=State.OUTDATED,
            detail=f"{_redo(facts.redo)}.",
            next_step=way if possible else f"Its raw log is gone: deliver it again. {way}",
            needs_person=True,
        )
    return _judged(facts)


def _judged(facts: DayFacts) -> DayState:
    """Return the state of a day whose tables are current: the fate of its candidate."""
    decision = facts.decision
    candidate = f"version {facts.version}"
    if decision is None:
        return DayState(day=facts.day, state=State.CURRENT, detail="No model was judged on it.")
    verdict = decision.verdict
    overrule = f"To put {candidate} in use anyway: `ctr promote {facts.version}`."
    if decision.promoted:
        return DayState(day=facts.day, state=State.CURRENT, detail=f"Its {candidate} was promoted.")
    if verdict == "promote":
        reason = "its run may not promote" if not decision.may_promote else "nothing was decided on it"
        detail = f"Its {candidate} passed the gate and was not promoted: {reason}."
        return DayState(day=facts.day, state=State.CURRENT, detail=detail, next_step=overrule)
    if verdict == "hold":
        undecided = "its run may not promote" if not decision.may_promote else "no person was asked"
        reason = {None: "not decided yet", "timeout": "nobody decided in time", "gate": undecided}.get(
            decision.decided_by, f"{decision.decided_by} kept the champion"
        )
        detail = f"{_reasons(facts)} Not promoted: {reason}."
        return DayState(day=facts.day, state=State.HELD, detail=detail, next_step=overrule)
    return DayState(day=facts.day, state=State.REJECTED, detail=_reasons(facts), next_step=overrule)


def _reasons(facts: DayFacts) -> str:
    first, *more = (facts.decision.reasons if facts.decision else []) or ["no reason is recorded"]
    return f"Version {facts.version}: {first}" + (f" (and {len(more)} more)" if more else "")


def _redo(steps: tuple[Redo, ...]) -> str:
    """Return why the first of these stages has to be made, and which follow."""
    if not steps:
        return ""
    first, *more = steps
    return f"{first.stage}: {first.reasons[0]}" + (f"; then {', '.join(step.stage for step in more)}" if more else "")


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
