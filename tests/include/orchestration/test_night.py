"""A night without Airflow runs every step once, stops where a check fails, and continues where it was stopped."""

import sys
from dataclasses import asdict
from datetime import date, timedelta

import pytest
from sample_records import decision

from include.errors import CtrError, DataQualityError, MissingDataError, NothingToDoError
from include.lake.lake import get_lake
from include.lake.manifest import Manifest, TableVersion
from include.orchestration import night, training_process
from include.orchestration.operators import TrainingOperator
from include.raw.deliveries import Raw
from include.records import Decision
from include.setting_groups import PROJECT
from include.settings import get_settings
from include.stages import STAGES

DAY = date(2023, 7, 17)
BEFORE = DAY - timedelta(days=1)
MODEL_STEPS = [step for step in night.STEPS if step not in STAGES]


class Programs:
    """The commands of training that a night has run; those in `fail` raise the error given, those in `warn` warn."""

    def __init__(self):
        self.run = []
        self.fail = {}
        self.warn = {}

    def __call__(self, log, command, *arguments):
        self.run.append(" ".join((command, *arguments[2:])))
        if error := self.fail.pop(command, None):
            raise error
        return self.warn.get(command, [])

    def steps(self):
        """Return the steps that have run since the last call."""
        steps = [command.split()[0] for command in self.run]
        self.run.clear()
        return steps


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Fakes of the programs that a night starts; its tables are published and current."""
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    fake = Programs()
    monkeypatch.setattr(night, "run_logged", fake)
    monkeypatch.setattr(night, "is_current", lambda lake, stage, day: True)
    monkeypatch.setattr(night, "_inputs", lambda lake, day, scratch: "tables")
    monkeypatch.setattr(night, "_decide", lambda day: fake.run.append(night.DECIDE) or "the champion stays")
    return fake


def run(**options):
    return [(event.step, event.state) for event in night.run_night(DAY, **options) if event.state != "start"]


def deliver(day, *, marker=True):
    folder = Raw().full(f"date={day}")
    Raw().fs.makedirs(folder, exist_ok=True)
    for name in ("part-0.csv", "_SUCCESS")[: 2 if marker else 1]:
        Raw().fs.touch(f"{folder}/{name}")


def publish(day, rows=20):
    for stage in STAGES:
        tables = {"training": TableVersion("p", rows, 1, "s")}
        manifest = Manifest(stage, str(day), "b", tables, rows, {}, "c", "s")
        get_lake().write_json(f"_manifests/{stage}/dt={day}.json", asdict(manifest))


def test_its_training_commands_are_those_of_the_dag():
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(PROJECT / "dags/ctr_daily.py"))
    commands = {task.command for task in bag.dags["ctr_daily"].tasks if isinstance(task, TrainingOperator)}
    assert commands == {*MODEL_STEPS} - {night.DECIDE}


def test_a_finished_night_is_not_run_again(programs):
    assert run() == [*((stage, "skipped") for stage in STAGES), *((step, "done") for step in MODEL_STEPS)]
    assert programs.steps() == MODEL_STEPS
    assert {state for _, state in run()} == {"skipped"}
    assert programs.steps() == []


def test_a_stopped_night_continues_with_the_step_it_was_in(programs):
    programs.fail["train"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run()
    assert programs.steps() == MODEL_STEPS[:3]
    run()
    assert programs.steps() == MODEL_STEPS[2:]


def test_a_step_tells_its_warnings(programs):
    programs.warn["embed-texts"] = ["The encoder is poor.", "Next: another."]
    details = {event.step: event.detail for event in night.run_night(DAY) if event.state == "done"}
    assert details["embed-texts"] == "The encoder is poor. Next: another."
    assert details["train"] == ""


def test_a_commands_warnings_are_found_in_its_log(tmp_path, monkeypatch):
    code = (
        "import logging; from include.console import set_up_logging; set_up_logging(); log = logging.getLogger('training.x'); "
        "log.info('said'); log.warning('poor %d', 1); log.error('bad')"
    )
    monkeypatch.setattr(training_process, "_command", lambda arguments: [sys.executable, "-c", code, *arguments])
    assert training_process.run_logged(tmp_path / "log", "train") == ["poor 1"]
    assert (tmp_path / "log").read_text() == "said\nWarning: poor 1\nError: bad\n"
    assert training_process.run_logged(tmp_path / "log", "train") == ["poor 1"]


def test_other_tables_or_settings_make_every_step_run_again(programs, monkeypatch):
    run()
    programs.run.clear()
    monkeypatch.setattr(night, "_inputs", lambda lake, day, scratch: "others")
    run()
    assert programs.steps() == MODEL_STEPS


def test_another_answer_to_promote_is_another_gate(programs):
    run(promote="no")
    assert "gate --no-may-promote" in programs.run
    programs.run.clear()
    run(promote="yes")
    assert programs.run[0] == "gate --may-promote"
    assert programs.steps() == ["gate", night.DECIDE, night.REPORT]


def test_a_day_before_the_last_judged_one_is_not_promoted(programs):
    get_lake().write_record(decision(DAY + timedelta(days=1), 3))
    run()
    assert "gate --no-may-promote" in programs.run


def test_a_failed_check_stops_the_night_with_its_message(programs, monkeypatch):
    """The report is written, and no step of the model runs."""

    def submit(job, first, last):
        yield {"event": "stage", "stage": "logs", "day": str(DAY), "state": "start"}
        raise DataQualityError("1 critical check failed on logs")

    monkeypatch.setattr(night, "is_current", lambda lake, stage, day: False)
    monkeypatch.setattr(night, "submit", submit)
    with pytest.raises(DataQualityError, match="1 critical check failed on logs"):
        run()
    assert programs.steps() == [night.REPORT]


def test_a_failed_monitor_stops_nothing_and_is_repeated(programs):
    programs.fail["monitor"] = CtrError("no disk")
    with pytest.raises(CtrError, match="no disk"):
        run()
    assert programs.steps()[:-1] == MODEL_STEPS, "and the report once more"
    run()
    assert programs.steps() == MODEL_STEPS[MODEL_STEPS.index("monitor") :]


def test_an_empty_day_has_a_report_and_no_verdict(programs):
    programs.fail["evaluate"] = NothingToDoError("the day is declared empty.")
    run()
    assert programs.steps() == ["embed-texts", "embed-cold", "train", "evaluate", night.REPORT]


def test_a_held_candidate_stays_undecided(tmp_path, monkeypatch):
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_lake().write_record(decision(DAY, 3, verdict="hold", reasons=["the interval holds 0"]))
    assert night._decide(DAY).startswith("held")
    assert get_lake().record(Decision, DAY).promoted is None


def test_a_rejected_candidate_is_recorded_as_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_lake().write_record(decision(DAY, 3, verdict="reject", reasons=["worse"]))
    assert night._decide(DAY) == "the champion stays: rejected by the gate: worse"
    assert get_lake().record(Decision, DAY).decided_by == "gate"


def test_the_next_day_is_the_newest_complete_one(programs):
    for day in (BEFORE, DAY):
        deliver(day)
    deliver(DAY + timedelta(days=1), marker=False)
    assert night.next_day(get_lake()) == DAY
    run()
    assert night.next_day(get_lake()) == DAY + timedelta(days=1)  # whose log is waited for


def test_a_night_that_was_begun_comes_first(programs):
    deliver(DAY)
    programs.fail["train"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run()
    deliver(DAY + timedelta(days=1))
    assert night.next_day(get_lake()) == DAY


def test_a_first_night_says_which_days_are_missing(programs):
    with pytest.raises(MissingDataError, match=r"(?s)no day before is published.*Next: deliver the raw logs"):
        night.refuse_without_history(get_lake(), DAY)
    for back in (3, 2, 1):
        deliver(DAY - timedelta(days=back))
    with pytest.raises(MissingDataError, match=r"`ctr history --from 2023-07-14 --to 2023-07-16` \(3 days with raw"):
        night.refuse_without_history(get_lake(), DAY)
    publish(DAY - timedelta(days=2))
    with pytest.raises(
        MissingDataError, match=r"(?s)the last are those of 2023-07-15.*--from 2023-07-16 --to 2023-07-16` \(1 day"
    ):
        night.refuse_without_history(get_lake(), DAY)
    publish(BEFORE)
    night.refuse_without_history(get_lake(), DAY)


def test_a_log_that_is_not_complete_is_waited_for(programs, monkeypatch):
    deliver(DAY, marker=False)
    monkeypatch.setattr(night.time, "sleep", lambda seconds: deliver(DAY))
    (missing,) = night.wait_for_log(DAY)
    assert "waits for _SUCCESS" in missing


@pytest.mark.parametrize(("wait", "delivered"), [("0", True), ("3600", False)])
def test_a_log_that_does_not_come_ends_the_night(programs, monkeypatch, wait, delivered):
    monkeypatch.setenv("CTR_RAW_WAIT_SECONDS", wait)
    get_settings.cache_clear()
    if delivered:
        deliver(DAY, marker=False)
    with pytest.raises(MissingDataError, match="The log of 2023-07-17 is not complete"):
        list(night.wait_for_log(DAY))


def test_one_night_runs_at_a_time(programs):
    with (
        night.one_night_at_a_time(),
        pytest.raises(CtrError, match="expected one at a time"),
        night.one_night_at_a_time(),
    ):
        pass
