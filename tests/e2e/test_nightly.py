"""Whole nightly runs on a real Airflow scheduler: a good day, a damaged one, and a backfill after both were corrected."""

import html
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from e2e_days import BAD, GOOD, ROWS, remove_hostile_rows

from include import airflow_local, demo, registry
from include.airflow_client import DAG_ID
from include.backfill import plan
from include.lake import lake
from include.schemas import STAGES

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def repaired(nights):
    """The damaged day is delivered again, the good day is corrected; a backfill without leave to promote redoes both."""
    champion = registry.champion()
    remove_hostile_rows(BAD)
    demo.ctr("sample", "--from", str(BAD), "--days", "1", "--rows-per-day", ROWS)
    demo.ctr("sample", "--from", str(GOOD), "--days", "1", "--rows-per-day", "3100")
    steps = plan(lake())
    outcomes = demo.nightly(sorted({step.day for step in steps} | {BAD}), promote="auto")
    return SimpleNamespace(steps=steps, outcomes=outcomes, champion=champion)


def test_the_good_night_is_green(nights):
    assert nights.good.failures == {}
    assert nights.good.state == "success"


def test_rows_are_conserved_from_raw_to_training(nights):
    logs = lake().manifest("logs", GOOD)
    assert logs.rows_in == logs.tables["logs"].rows + logs.tables["quarantine"].rows == int(ROWS)
    assert lake().manifest("training", GOOD).tables["training"].rows == logs.tables["logs"].rows


def test_the_first_model_is_evaluated_on_the_day_it_has_not_seen_and_promoted(nights):
    champion = registry.champion()
    assert champion.log_day == GOOD
    assert champion.trained_through == GOOD - timedelta(days=1)
    decision = lake().record("decision", GOOD)
    assert (decision["verdict"], decision["promoted"]) == ("promote", True)


def test_the_first_night_is_monitored_and_has_no_champion_to_judge(nights):
    record = lake().record("monitor", GOOD)
    assert record["metrics_note"] == "there was no champion yet when the day was evaluated"
    assert record["freshness"]["published"]["training"]["days_behind"] == 0


def test_the_bad_night_stops_at_its_check_and_says_why(nights):
    assert nights.bad.state == "failed"
    assert list(nights.bad.failures) == ["check_logs"]
    assert "nothing was published" in nights.bad.failures["check_logs"]
    assert str(BAD) in nights.bad.failures["check_logs"]


def test_the_bad_night_sends_one_notice_with_its_failed_checks_and_where_to_look(nights):
    (notice,) = nights.notices
    failed = [check for check in lake().record("quality/logs", BAD)["checks"] if check["status"] == "fail"]
    header, _, *others = notice["blocks"]
    assert header["text"]["text"] == f"ctr_daily, {BAD}: check_logs failed"
    told = ["\n".join(field["text"] for field in block["fields"]) for block in others if "fields" in block]
    assert len(told) == len(failed) > 0
    for check, text in zip(failed, told, strict=True):
        for name in ("table", "name", "expected", "observed"):
            assert str(check[name]) in html.unescape(text)
    assert f"/plugin/data-quality/ctr/quality/day?day={BAD}|" in notice["text"]


def test_the_bad_night_publishes_nothing_and_leaves_the_champion(nights):
    assert lake().manifest("logs", BAD) is None
    assert lake().record("decision", BAD) is None
    assert registry.champion().log_day == GOOD


def test_both_nights_have_a_report(nights):
    for day in (GOOD, BAD):
        assert "<html" in lake().fs.cat_file(f"{lake().root}/_reports/dt={day}.html").decode()


def test_a_corrected_day_is_found_stale_and_a_backfill_mends_it_without_promoting(repaired):
    assert [(step.stage, step.day) for step in repaired.steps] == [(stage, GOOD) for stage in STAGES]
    assert repaired.steps[0].reasons == (f"raw/{GOOD} has changed since",)
    assert {day: outcome.failures for day, outcome in repaired.outcomes.items()} == {GOOD: {}, BAD: {}}
    assert plan(lake()) == []
    assert lake().manifest("logs", GOOD).rows_in == 3100
    assert registry.champion().version == repaired.champion.version
    assert lake().record("decision", BAD)["may_promote"] is False


@pytest.mark.usefixtures("repaired")
def test_a_held_candidate_waits_for_a_person_who_reads_the_evidence_and_is_recorded():
    reason = "the interval holds 0"
    record = lake().record("decision", BAD)
    asked = {key: value for key, value in record.items() if key not in ("promoted", "decided_by", "refusal")}
    lake().write_record("decision", BAD, {**asked, "verdict": "hold", "reasons": [reason], "may_promote": True})
    with airflow_local.running() as airflow:
        run = next(run for run in airflow.runs() if run["data_interval_start"].startswith(str(BAD)))
        path = f"/dags/{DAG_ID}"
        tasks = {"dag_run_id": run["dag_run_id"], "task_ids": ["decide"], "include_downstream": True}
        airflow.call("POST", f"{path}/clearTaskInstances", json={**tasks, "dry_run": False, "only_failed": False})
        question = answer(airflow, f"{path}/dagRuns/{run['dag_run_id']}", "promote")
    assert str(BAD) in question["subject"]
    assert reason in question["body"]
    assert question["defaults"] == ["keep_champion"]
    decided = lake().record("decision", BAD)
    assert (decided["promoted"], decided["decided_by"]) == (True, "admin")
    assert registry.champion().version == record["candidate"]


@pytest.mark.usefixtures("repaired")
def test_a_rollback_through_airflow_returns_to_the_champion_before_and_says_who_asked():
    champion = registry.champion()
    with airflow_local.running() as airflow:
        path = "/dags/ctr_rollback/dagRuns"
        conf = {"reason": "complaints from scene 3"}
        run = airflow.call("POST", path, json={"logical_date": None, "conf": conf})["dag_run_id"]
        for _ in range(120):
            state = airflow.call("GET", f"{path}/{run}")["state"]
            if state in ("success", "failed"):
                break
            time.sleep(1)
    assert state == "success"
    assert registry.champion().version < champion.version
    taken_back = registry.get(champion.version)
    assert taken_back.rolled_back_at is not None
    assert (taken_back.rolled_back_by, taken_back.rolled_back_reason) == ("admin", "complaints from scene 3")
    assert registry.promoted_before(BAD + timedelta(days=1)) == registry.champion()


def answer(airflow, run, choice):
    """Answers the run's `ask_a_person` and waits for the end of the run; returns what was asked."""
    task, asked = f"{run}/taskInstances/ask_a_person", None
    for _ in range(180):
        states = {
            each["task_id"]: each["state"] for each in airflow.call("GET", f"{run}/taskInstances")["task_instances"]
        }
        if states["ask_a_person"] == "awaiting_input" and asked is None:
            time.sleep(5)  # an answer within the second in which the task pauses makes Airflow ask again
            asked = airflow.call("GET", f"{task}/-1/hitlDetails")
            airflow.call("PATCH", f"{task}/-1/hitlDetails", json={"chosen_options": [choice], "params_input": {}})
        if asked and states["report"] == "success" and airflow.call("GET", run)["state"] == "success":
            return asked
        time.sleep(1)
    pytest.fail(f"The run has not ended: {states}")
