"""One state for each log day, and what a person can do about it, whatever Airflow and the lake say."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sample_records import decision

from include.days.backfill_plan import Redo
from include.days.day_states import DayFacts, State, state_of
from include.days.runs import Run, Task
from include.records import Wait

DAY = date(2023, 7, 17)
NIGHT = datetime(2023, 7, 18, tzinfo=UTC)
NOW = NIGHT + timedelta(hours=3)
STALE = (Redo("logs", DAY, (f"raw/{DAY} has changed since",)), Redo("features", DAY, (f"logs/{DAY} is redone",)))


def held(**fields):
    return decision(DAY, 3, **{"verdict": "hold", "reasons": ["the interval holds 0"]} | fields)


WAIT = Wait(day=DAY, since=NIGHT, due=NIGHT + timedelta(hours=2), until=NIGHT + timedelta(hours=6))
INCOMPLETE = WAIT.model_copy(update={"waits_for": "2 files, 1.3 MB; waits for _SUCCESS."})
GAVE_UP = WAIT.model_copy(update={"gave_up_at": WAIT.until, "notified_at": WAIT.due})


def run(state, hindrance=None, **tasks):
    made = [Task(task_id=name, state=each, start=NIGHT, seconds=1, tries=1, page="/") for name, each in tasks.items()]
    times = {"logical_date": None, "queued": NIGHT, "start": NIGHT, "end": None}
    return Run(run_id="r", run_type="backfill", state=state, page="/", hindrance=hindrance, tasks=made, **times)


def known(**more):
    return DayFacts(DAY, **({"has_log": True, "published": True, "version": 3} | more))


def lacking(**more):
    """A day without a log."""
    return known(has_log=False, published=False, version=None, **more)


@pytest.mark.parametrize(
    ("found", "state", "needs_person"),
    [
        (known(run=run("queued")), State.QUEUED, False),
        (known(run=run("queued", "paused DAG")), State.QUEUED, True),
        (known(run=run("queued", "cancelled backfill")), State.STUCK, True),
        (known(run=run("running", wait_for_raw="success", ingest_logs="running"), redo=STALE), State.RUNNING, False),
        (lacking(run=run("running", wait_for_raw="up_for_reschedule"), wait=WAIT), State.WAITING, False),
        (lacking(run=run("running", wait_for_raw="queued"), wait=GAVE_UP), State.RUNNING, False),
        (lacking(run=run("success", wait_for_raw="skipped"), wait=GAVE_UP), State.NO_LOG, True),
        (lacking(), State.NO_LOG, True),
        (lacking(wait=WAIT), State.WAITING, False),
        (known(wait=INCOMPLETE, published=False), State.WAITING, False),
        (known(run=run("running", wait_for_raw="up_for_reschedule"), wait=INCOMPLETE), State.WAITING, False),
        (known(run=run("success", wait_for_raw="skipped"), wait=GAVE_UP, published=False), State.NOT_RUN, True),
        (known(published=False), State.NOT_RUN, True),
        (known(run=run("running", ask_a_person="awaiting_input"), decision=held()), State.HELD, True),
        (known(run=run("success"), decision=held(promoted=False, decided_by="timeout")), State.HELD, False),
        (known(run=run("success"), decision=held(verdict="reject")), State.REJECTED, False),
        (known(run=run("failed", ingest_logs="success", check_logs="failed")), State.FAILED, True),
        (known(published=False, failed_stage="logs"), State.FAILED, True),
        (known(run=run("failed"), published=False), State.CANCELLED, True),
        (known(run=run("failed", ingest_logs="skipped")), State.CANCELLED, False),
        (known(run=run("success"), redo=STALE, decision=held()), State.OUTDATED, True),
        (known(run=run("success")), State.CURRENT, False),
        (known(), State.CURRENT, False),
    ],
)
def test_a_day_has_the_state_that_follows_from_what_is_known(found, state, needs_person):
    day_state = state_of(found, NOW)
    assert (day_state.state, day_state.needs_person) == (state, needs_person)
    assert bool(day_state.next_step) or not needs_person


def test_a_day_without_a_log_says_the_wait_and_what_to_do():
    day_state = state_of(lacking(run=run("success", wait_for_raw="skipped"), wait=GAVE_UP), NOW)
    assert "waited from 2023-07-18 00:00 UTC until 2023-07-18 06:00 UTC and was skipped" in day_state.detail
    for way in (f"date={DAY}", f"ctr backfill --from {DAY} --to {DAY}", f"CTR_EMPTY_DAYS={DAY}"):
        assert way in day_state.next_step


def test_an_incomplete_log_says_what_it_waits_for():
    running = run("running", wait_for_raw="up_for_reschedule")
    day_state = state_of(known(run=running, wait=INCOMPLETE, published=False), NOW)
    assert day_state.detail == "Expected by 2023-07-18 02:00 UTC. 2 files, 1.3 MB; waits for _SUCCESS."
    skipped = INCOMPLETE.model_copy(update={"gave_up_at": WAIT.until})
    day_state = state_of(known(run=run("success", wait_for_raw="skipped"), wait=skipped, published=False), NOW)
    assert day_state.state is State.NOT_RUN
    assert day_state.detail.endswith("was skipped. At its last look: 2 files, 1.3 MB; waits for _SUCCESS.")


def test_a_waiting_day_says_since_when_and_until_when():
    day_state = state_of(lacking(run=run("running", wait_for_raw="up_for_reschedule"), wait=WAIT), NOW)
    assert (day_state.since, day_state.until) == (WAIT.since, WAIT.until)


def test_a_held_candidate_waits_until_the_answer_is_due():
    day_state = state_of(known(run=run("running", ask_a_person="awaiting_input"), decision=held()), NOW)
    assert day_state.until == NIGHT + timedelta(hours=8)
    assert "Required Actions" in day_state.next_step


def test_a_running_day_names_its_task_and_one_tried_again():
    day_state = state_of(known(run=run("running", train="up_for_retry", monitor="success", report=None)), NOW)
    assert day_state.words == "running: train (failed, is tried again)"


def test_a_failed_day_says_what_its_notice_says():
    day_state = state_of(known(run=run("failed", check_logs="failed", train="upstream_failed")), NOW)
    assert day_state.words == "failed: check_logs"
    assert f"ctr quality --day {DAY} --failed" in day_state.next_step


def test_a_cancelled_day_whose_tables_are_current_needs_nobody():
    day_state = state_of(known(run=run("failed")), NOW)
    assert "before it began; what an earlier run made is current" in day_state.detail


def test_an_outdated_day_leads_to_the_plan():
    day_state = state_of(known(redo=STALE), NOW)
    assert day_state.detail == f"logs: raw/{DAY} has changed since; then features."
    assert "ctr backfill-plan" in day_state.next_step
    gone = state_of(known(redo=(Redo("logs", DAY, ("x",), possible=False),)), NOW)
    assert "raw log is gone" in gone.next_step


@pytest.mark.parametrize(
    ("judged", "detail"),
    [
        (None, "No model was judged on it."),
        (held(verdict="promote", promoted=True), "Its version 3 was promoted."),
        (held(verdict="promote", may_promote=False, promoted=False), "its run may not promote"),
        (held(promoted=False, decided_by="timeout"), "nobody decided in time"),
        (held(promoted=False, decided_by="ann"), "ann kept the champion"),
        (held(may_promote=False, promoted=False, decided_by="gate"), "its run may not promote"),
    ],
)
def test_a_green_run_says_what_became_of_its_candidate(judged, detail):
    assert detail in state_of(known(run=run("success"), decision=judged), NOW).detail
