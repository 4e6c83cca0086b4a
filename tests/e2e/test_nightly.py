"""Whole nightly runs on a real Airflow scheduler: a good day, a damaged one, and a backfill after both were corrected."""

import html
from datetime import timedelta

import pytest
from e2e_days import BAD, GOOD, HOLD_REASON, ROLLBACK_REASON, ROWS

from include.lake.lake import get_lake
from include.records import Decision, Monitor
from include.registry import registry
from include.stages import STAGES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800), pytest.mark.usefixtures("nights")]


def test_the_good_night_is_green(nights):
    assert nights.good.failures == {}
    assert nights.good.state == "success"


def test_rows_are_conserved_from_raw_to_training(nights):
    logs = get_lake().manifest("logs", GOOD)
    assert logs.rows_in == logs.tables["logs"].rows + logs.tables["quarantine"].rows == int(ROWS)
    assert get_lake().manifest("training", GOOD).tables["training"].rows == logs.tables["logs"].rows


def test_first_model_is_evaluated_on_an_unseen_day_and_promoted(nights):
    champion = registry.champion()
    assert champion.log_day == GOOD
    assert champion.trained_through == GOOD - timedelta(days=1)
    decision = get_lake().record(Decision, GOOD)
    assert (decision.verdict, decision.promoted) == ("promote", True)


def test_first_night_is_monitored_without_a_champion_to_judge(nights):
    record = get_lake().record(Monitor, GOOD)
    assert record.metrics_note == "there was no champion yet when the day was evaluated"
    assert record.freshness.published["training"].days_behind == 0


def test_the_bad_night_stops_at_its_check_and_says_why(nights):
    assert nights.bad.state == "failed"
    assert list(nights.bad.failures) == ["check_logs"]
    assert "nothing was published" in nights.bad.failures["check_logs"]
    assert str(BAD) in nights.bad.failures["check_logs"]


def test_bad_night_sends_one_notice_with_failed_checks_and_link(nights):
    (notice,) = nights.notices
    failed = [check for check in get_lake().quality("logs", BAD).checks if check.status == "fail"]
    header, _, *others = notice["blocks"]
    assert header["text"]["text"] == f"ctr_daily, {BAD}: check_logs failed"
    texts = ["\n".join(field["text"] for field in block["fields"]) for block in others if "fields" in block]
    assert len(texts) == len(failed) > 0
    for check, text in zip(failed, texts, strict=True):
        for name in ("table", "name", "expected", "observed"):
            assert str(getattr(check, name)) in html.unescape(text)
    assert f"/plugin/data-quality/ctr/quality/day?day={BAD}|" in notice["text"]


def test_the_bad_night_publishes_nothing_and_leaves_the_champion(nights):
    assert get_lake().manifest("logs", BAD) is None
    assert get_lake().record(Decision, BAD) is None
    assert registry.champion().log_day == GOOD


def test_both_nights_have_a_report(nights):
    for day in (GOOD, BAD):
        assert "<html" in get_lake().fs.cat_file(f"{get_lake().root}/_reports/dt={day}.html").decode()


def test_backfill_repairs_a_corrected_day_without_promoting(repaired):
    """The plan finds the corrected day stale."""
    assert [(step.stage, step.day) for step in repaired.steps] == [(stage, GOOD) for stage in STAGES]
    assert repaired.steps[0].reasons == (f"raw/{GOOD} has changed since",)
    days = [(row["day"], row["run"], row["published"], row["promoted"]) for row in repaired.report["days"]]
    assert days == [(str(day), "success", ", ".join(STAGES), False) for day in (GOOD, BAD)]
    assert repaired.report["champion"] == repaired.report["champion_before"] == repaired.champion.version
    assert repaired.stale == repaired.report["stale"] == []
    assert get_lake().manifest("logs", GOOD).rows_in == int(ROWS) + 100
    assert repaired.champion.version == repaired.champion_before.version
    assert repaired.decision.may_promote is False


def test_a_held_candidate_waits_for_a_recorded_human_decision(approved):
    """The question shows the evidence, and the decision names who took it."""
    assert str(BAD) in approved.question["subject"]
    assert HOLD_REASON in approved.question["body"]
    assert approved.question["defaults"] == ["keep_champion"]
    assert (approved.decision.promoted, approved.decision.decided_by) == (True, "admin")
    assert approved.champion.version == approved.decision.candidate


def test_rollback_through_airflow_restores_the_previous_champion(approved, rolled_back):
    """The version that was rolled back records who asked and why."""
    assert rolled_back.state == "success"
    assert rolled_back.champion.version < approved.champion.version
    taken_back = rolled_back.taken_back
    assert taken_back.rolled_back_at is not None
    assert (taken_back.rolled_back_by, taken_back.rolled_back_reason) == ("admin", ROLLBACK_REASON)
    assert registry.promoted_before(BAD + timedelta(days=1), registry.versions())[0] == registry.champion()


def test_a_run_reports_once_a_killed_task_that_sent_no_notice(killed):
    assert killed.state == "failed"
    (notice,) = killed.notices
    assert notice["blocks"][0]["text"]["text"] == "ctr_rollback, no log day: rollback failed"
    assert "its process was killed" in notice["text"]
    assert "/dags/ctr_rollback/runs/" in notice["text"]


def test_a_shell_command_reports_the_health_of_this_airflow(killed):
    assert killed.health["healthy"] is True
    (scheduler,) = [fact for fact in killed.health["facts"] if fact["metric"] == "scheduler_heartbeat_seconds"]
    assert scheduler["value"] < 60
