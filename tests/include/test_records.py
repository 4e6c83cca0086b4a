"""Records are read whatever version of the code wrote them; a file that is none is named."""

import json
from datetime import date

import pytest
import sample_records
from typer.testing import CliRunner

from include.checks import Check, Measure, check_result, worst
from include.cli.app import cli
from include.cli.records import records_markdown
from include.errors import DamagedFileError
from include.lake.lake import get_lake
from include.records import Decision, Evaluation, Train
from include.setting_groups import PROJECT

DAY = date(2023, 7, 17)


def test_the_reference_in_the_docs_is_current():
    """`ctr records --markdown > docs/records.md` after a change."""
    assert (PROJECT / "docs/records.md").read_text() == records_markdown()


def test_a_record_is_read_as_it_was_written(home):
    decision = sample_records.decision(DAY, 3, promoted=True, decided_by="gate")
    get_lake().write_record(decision)
    assert get_lake().record(Decision, DAY) == get_lake().record(Decision, DAY, 3) == decision
    assert get_lake().record_days(Decision) == [DAY]


def test_fields_of_another_version_of_the_code_are_kept(home):
    """A later version adds fields, and a settled decision is written again by this one."""
    written = sample_records.decision(DAY, 3).as_json() | {"from the future": [1]}
    del written["day"]
    get_lake().write_json(f"_records/decision/dt={DAY}.json", written)
    read = get_lake().record(Decision, DAY)
    assert read.day == DAY
    get_lake().write_record(read.model_copy(update={"promoted": False}))
    kept = get_lake().read_json(f"_records/decision/dt={DAY}.json")
    assert kept == written | {"day": str(DAY), "promoted": False}


def test_the_parts_of_a_record_keep_unknown_fields_too():
    written = sample_records.evaluation(DAY, groups=[sample_records.group("all")]).as_json()
    written["groups"][0] |= {"from the future": 1, "candidate": {"auc": {"value": 0.7, "median": 0.71}}}
    written["headline"]["of the future"] = {"auc": {"value": None, "note": "too few rows"}}
    read = Evaluation.model_validate(written)
    assert read.groups[0].candidate["auc"].value == 0.7
    assert read.as_json() == written


def test_a_field_that_was_not_set_is_not_written():
    assert "promoted" not in sample_records.decision(DAY).as_json()


def test_a_file_that_is_no_record_is_named_with_its_faults(home):
    get_lake().write_json(f"_records/train/dt={DAY}.json", {"version": "three", "rows": 7})
    with pytest.raises(DamagedFileError, match=rf"_records/train/dt={DAY}.json.*version: .*integer.*Next: restore"):
        get_lake().record(Train, DAY)


def test_a_check_of_an_earlier_version_has_no_measure():
    old = check_result("logs", "expect_rows", True, "1", "2", measure=Measure(2.0)).as_json()
    del old["measure"]
    assert Check.model_validate(old).measure is None


@pytest.mark.parametrize(
    ("severities", "status"), [([], "pass"), (["warning"], "warning"), (["warning", "critical"], "fail")]
)
def test_the_worst_status_counts(severities, status):
    good = check_result("logs", "a", True, "", "")
    assert worst([good, *(check_result("logs", "b", False, "", "", severity=each) for each in severities)]) == status


def test_a_record_is_printed_by_kind_and_day(home):
    get_lake().write_record(sample_records.train(DAY, 3))
    listed = CliRunner().invoke(cli, ["records", "--json"])
    assert [line["days"] for line in json.loads(listed.stdout) if line["kind"] == "train"] == [1]
    printed = CliRunner().invoke(cli, ["records", "--kind", "train", "--day", str(DAY)])
    assert json.loads(printed.stdout) == sample_records.train(DAY, 3).as_json()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "train"], "by both"),
        (["--kind", "trains", "--day", str(DAY)], "Expected one of quality/logs"),
        (["--kind", "train", "--day", str(DAY)], "There is no record 'train' of 2023-07-17"),
    ],
)
def test_a_record_that_is_not_there_is_a_clear_error(home, arguments, message):
    assert message in str(CliRunner().invoke(cli, ["records", *arguments]).exception)
