"""Rejected rows that a fix repairs go through again, each exactly once; what the fix does not reach stays rejected."""

import json
from pathlib import Path

import pytest
from small_days import DAY, contents, csv_text, raw_row, read, run_stage, write_raw
from typer.testing import CliRunner

from include.cli.app import cli
from include.days.backfill_plan import stale_inputs
from include.errors import DataQualityError
from include.orchestration.spark_submit import PUBLISH
from include.quality.repairs import Repair, read_entries, read_repair, repair_day
from include.raw.deliveries import Raw, repairs_path
from include.settings import get_settings

pytestmark = pytest.mark.spark

GOOD = [raw_row(n) for n in range(20)]
HOSTILE = 'two\nlines, "quoted"\t{"json": 1} \u2028 龙井茶 🍵'
BAD = [
    raw_row(100, scene="home_feed_v2", item_title=HOSTILE),
    raw_row(101, scene="home_feed_v2", label="clicked"),
    raw_row(102, log_time="10.07.2023 08:30", user_id='u"1",x\n2'),
    raw_row(103, log_time="10.07.2023 09:30", scene="nowhere"),
    raw_row(104, deep_features_3="n/a", item_title=HOSTILE),
    raw_row(105, deep_features_3="n/a", deep_features_4="high"),
    raw_row(106, deep_features_0="NaN"),
    raw_row(107, user_id=""),
]
REPAIR = Repair.model_validate(
    {
        "time": {"formats": ["%d.%m.%Y %H:%M"], "zone": "Asia/Shanghai"},
        "scenes": {"home_feed_v2": "0"},
        "labels": {"clicked": "1"},
        "values": {"deep_features_3": {"n/a": ""}, "deep_features_0": {"NaN": "0"}},
    }
)
FILE = f"date={DAY}/part-0.csv.gz"


def deliver(bad=BAD):
    write_raw(csv_text([*GOOD, *bad]) + "too,few\n", "part-0.csv.gz")


def reasons(lake):
    rows = read(lake, "quarantine").sort_values("source_row")
    return {row: [*why] for row, why in zip(rows["source_row"], rows["reasons"], strict=True)}


@pytest.fixture
def rejected(spark, lake):
    deliver()
    run_stage(spark, lake, "logs")
    assert len(reasons(lake)) == 9
    return lake


@pytest.fixture
def in_this_session(spark, lake, monkeypatch):
    """Jobs that a command submits run here, without a JVM of their own."""

    def submit(job, first, last, *, options):
        assert (job, first, last, options) == ("ingest", DAY, DAY, PUBLISH)
        run_stage(spark, lake, "logs")
        return iter(())

    monkeypatch.setattr("include.orchestration.spark_submit.submit", submit)


def test_a_repair_puts_through_the_rows_it_mends_and_no_others(spark, rejected):
    original = read(rejected, "quarantine").set_index("source_row")["raw"]
    outcome = repair_day(rejected, DAY, REPAIR, "fix.yaml")
    assert (outcome.rejected, outcome.repaired, outcome.malformed) == (9, 7, 1)
    assert stale_inputs(rejected, rejected.manifest("logs", DAY)) == [f"raw/{DAY}"]
    quality = run_stage(spark, rejected, "logs")
    assert {check.name for check in quality.checks if check.status != "pass"} == {"expect_known_scenes"}
    assert reasons(rejected) == {
        23: ["unknown_scene"],
        25: ["deep_feature_not_a_number"],
        27: ["missing_user_id"],
        28: ["malformed_record"],
    }
    after = read(rejected, "quarantine").set_index("source_row")["raw"]
    assert after.to_dict() == original.loc[after.index].to_dict()  # as they came in, for the next repair to read
    logs = read(rejected, "logs").set_index("event_id")
    assert len(logs) == 25
    assert logs.index.is_unique
    first, times, number = logs.loc[f"{FILE}#20"], logs.loc[f"{FILE}#22"], logs.loc[f"{FILE}#24"]
    assert (first["scene"], first["item_title"], first["label"]) == ("0", HOSTILE, 1)
    assert logs.loc[f"{FILE}#21"]["label"] == 1
    assert (str(times["log_ts"]), times["user_id"]) == (f"{DAY} 00:30:00", 'u"1",x\n2')
    assert (number["item_title"], number["deep_features_4"]) == (HOSTILE, 0.4)
    assert number["deep_features_3"] != number["deep_features_3"]
    assert logs.loc[f"{FILE}#26"]["deep_features_0"] == 0
    assert rejected.manifest("logs", DAY).profile["repairs"] == {"rows": 7, "applied": 7}


def test_repairing_twice_is_repairing_once(spark, rejected):
    repair_day(rejected, DAY, REPAIR, "fix.yaml")
    run_stage(spark, rejected, "logs")
    before = contents(rejected, "logs"), contents(rejected, "quarantine"), read_entries(Raw(), DAY)
    assert repair_day(rejected, DAY, REPAIR, "fix.yaml").repaired == 0
    assert stale_inputs(rejected, rejected.manifest("logs", DAY)) == []
    run_stage(spark, rejected, "logs")
    assert (contents(rejected, "logs"), contents(rejected, "quarantine"), read_entries(Raw(), DAY)) == before


def test_a_later_repair_is_laid_over_the_earlier_one(spark, rejected):
    repair_day(rejected, DAY, REPAIR, "fix.yaml", reason="timestamp_unparsable")
    assert {key[1] for key in read_entries(Raw(), DAY)} == {22, 23}
    run_stage(spark, rejected, "logs")
    repair_day(rejected, DAY, Repair(scenes={"nowhere": "4"}), "second.yaml")
    run_stage(spark, rejected, "logs")
    row = read(rejected, "logs").set_index("event_id").loc[f"{FILE}#23"]
    assert (row["scene"], str(row["log_ts"])) == ("4", f"{DAY} 01:30:00")
    assert {22, 23} <= {key[1] for key in read_entries(Raw(), DAY)}


def test_a_row_delivered_differently_ignores_its_repair(spark, rejected):
    """The quality record says how many repairs were ignored."""
    repair_day(rejected, DAY, REPAIR, "fix.yaml")
    deliver([BAD[0] | {"label": "0"}, *BAD[1:]])
    quality = run_stage(spark, rejected, "logs")
    assert reasons(rejected)[20] == ["unknown_scene"]
    assert len(read(rejected, "logs")) == 24
    (found,) = (check for check in quality.checks if check.name == "expect_repairs_to_fit")
    assert (found.status, found.failing_rows) == ("warning", 1)
    assert found.observed.startswith("6 repaired; 1 ignored")
    deliver()
    run_stage(spark, rejected, "logs")
    assert len(read(rejected, "logs")) == 25


def test_the_command_repairs_and_publishes_in_one_go(rejected, tmp_path):
    fix = tmp_path / "fix.yaml"
    fix.write_text("scenes: {home_feed_v2: 0}\nlabels: {clicked: 1}\n")
    command = ["quarantine", "--day", str(DAY), "--replay", "--mapping", str(fix), "--json"]
    result = json.loads(CliRunner().invoke(cli, command).stdout)
    assert (result["repaired"], result["logs_before"], result["logs_after"]) == (2, 20, 22)
    assert (result["rejected_before"]["unknown_scene"], result["rejected_after"]["unknown_scene"]) == (3, 1)
    assert len(read(rejected, "logs")) == 22
    again = json.loads(CliRunner().invoke(cli, command).stdout)
    assert again["replayed"] is False
    assert "changes none of the 7 rejected rows" in again["why"]


@pytest.mark.parametrize("staged", [False, True], ids=["before ingest", "after staging"])
@pytest.mark.parametrize("with_mapping", [True, False], ids=["with the mapping", "without"])
def test_a_replay_that_was_killed_is_finished_by_the_next(spark, lake, tmp_path, in_this_session, staged, with_mapping):
    write_raw(csv_text([*GOOD, *BAD[:2]]))
    run_stage(spark, lake, "logs")
    fix = tmp_path / "fix.yaml"
    fix.write_text("labels: {clicked: 1}\nscenes: {home_feed_v2: 0}\n")
    repair_day(lake, DAY, read_repair(str(fix)), "fix.yaml")
    if staged:
        run_stage(spark, lake, "logs", publish=False)
    command = ["quarantine", "--day", str(DAY), "--replay", *(["--mapping", str(fix)] if with_mapping else [])]
    result = CliRunner().invoke(cli, command)
    assert "Rows of logs: 20 → 22" in result.stdout
    assert "An earlier replay" in result.stderr
    assert "nothing to replay" in CliRunner().invoke(cli, command).stdout


def test_a_replay_refused_at_publication_is_refused_again(rejected, tmp_path, monkeypatch, in_this_session):
    """Repeating the command tries to publish again and reports the reason."""
    monkeypatch.setenv("CTR_MAX_QUARANTINE_RATE", "0")
    get_settings.cache_clear()
    fix = tmp_path / "fix.yaml"
    fix.write_text("labels: {clicked: 1}\nscenes: {home_feed_v2: 0}\n")
    command = ["quarantine", "--day", str(DAY), "--replay", "--mapping", str(fix)]
    for _ in range(2):
        assert isinstance(CliRunner().invoke(cli, command).exception, DataQualityError)
    assert len(read(rejected, "logs")) == 20


def test_the_command_replays_after_a_change_of_settings(rejected, monkeypatch, in_this_session):
    monkeypatch.setenv("CTR_SCENES", "0,1,2,3,4,home_feed_v2")
    get_settings.cache_clear()
    result = CliRunner().invoke(cli, ["quarantine", "--day", str(DAY), "--reason", "unknown_scene", "--replay"])
    assert result.exit_code == 0, result.output
    assert "ctr backfill-plan" in " ".join(result.stdout.split())
    assert reasons(rejected)[21] == ["label_not_0_or_1"]
    assert "home_feed_v2" in set(read(rejected, "logs")["scene"])


def test_a_day_without_rejected_rows_is_left_alone(spark, lake):
    write_raw(csv_text(GOOD))
    run_stage(spark, lake, "logs")
    build = lake.manifest("logs", DAY).build
    result = CliRunner().invoke(cli, ["quarantine", "--day", str(DAY), "--replay"])
    assert "nothing to replay" in result.stdout
    assert lake.manifest("logs", DAY).build == build
    assert not Path(Raw().full(repairs_path(DAY))).exists()
