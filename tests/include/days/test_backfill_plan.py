"""The backfill plan, from manifests alone: what is stale, what is missing, and what depends on it."""

import json
from datetime import date, timedelta

import pytest
from model_versions import model_version
from sample_records import train
from typer.testing import CliRunner

from include.cli.app import cli
from include.days.backfill_plan import is_current, plan, stale_inputs
from include.days.day_status import current_version
from include.lake.lake import Lake, get_lake
from include.lake.manifest import Manifest, TableVersion, new_build
from include.lake.table_ddl import table_ddl
from include.registry import registry
from include.schemas import schema_hash
from include.settings import get_settings, shaping
from include.stages import SPECS, STAGES, Stage

FIRST = date(2023, 7, 10)
DAYS = [FIRST + timedelta(days=n) for n in range(12)]


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """Twelve raw days, all stages of each published."""
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    for day in DAYS:
        deliver(day)
    for day in DAYS:
        for stage in STAGES:
            publish(get_lake(), stage, day)
    yield get_lake()
    get_settings.cache_clear()


def deliver(day: date, content: str = "one") -> None:
    folder = get_settings().home / "raw" / f"date={day}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "part-0.csv").write_text(content)


def publish(lake: Lake, stage: Stage, day: date, *, schema: str | None = None) -> None:
    from include.days.backfill_plan import expected_inputs

    keys = expected_inputs(stage, day, FIRST)
    inputs = {key: version for key in keys if (version := current_version(lake, key))}
    tables = {name: TableVersion("", 1, 1, schema or schema_hash(table_ddl(name))) for name in SPECS[stage].tables}
    build = new_build()
    manifest = Manifest(stage, str(day), build, tables, 1, inputs, "", get_settings().values(*shaping(stage)))
    lake.write_json(
        f"_manifests/{stage}/dt={day}.json", vars(manifest) | {"tables": {n: vars(t) for n, t in tables.items()}}
    )


def named(steps) -> list[str]:
    return [f"{step.stage}/{step.day}" for step in steps]


def from_day(number: int) -> list[str]:
    """Everything to redo when the log of a day changes: all of it, but the features of days before."""
    later = [f"{stage}/{day}" for day in DAYS[number + 1 :] for stage in ("features", "training")]
    return [*(f"{stage}/{DAYS[number]}" for stage in STAGES), *later]


def test_nothing_to_do_where_nothing_changed(lake):
    assert plan(lake) == []
    told = CliRunner().invoke(cli, ["backfill-plan"])
    assert "Nothing is stale" in told.stdout


def test_a_corrected_day_dirties_itself_and_every_later_snapshot(lake):
    steps = plan(lake, [DAYS[4]])
    assert named(steps) == from_day(4)
    assert steps[0].reasons == ("its raw log is corrected",)
    assert steps[3].reasons[0] == f"features/{DAYS[4]} must be redone first"


def test_a_replaced_raw_file_is_found_without_being_told(lake):
    deliver(DAYS[4], "another")
    assert named(plan(lake)) == from_day(4)
    assert plan(lake)[0].reasons == (f"raw/{DAYS[4]} has changed since",)
    assert stale_inputs(lake, lake.manifest("logs", DAYS[4])) == [f"raw/{DAYS[4]}"]


def test_doing_the_plan_in_its_order_ends_with_nothing_stale(lake):
    deliver(DAYS[9], "another")
    for step in plan(lake):
        publish(lake, step.stage, step.day)
    assert plan(lake) == []


def test_a_step_done_too_early_is_found_again(lake):
    deliver(DAYS[9], "another")
    steps = plan(lake)
    for step in reversed(steps):
        publish(lake, step.stage, step.day)
    assert f"features/{DAYS[10]}" in named(plan(lake))


def test_a_gap_and_its_dependents_are_named_until_declared_empty(lake, monkeypatch):
    for stage in STAGES:
        lake.fs.rm(lake.path(f"_manifests/{stage}/dt={DAYS[5]}.json"))
    (get_settings().home / "raw" / f"date={DAYS[5]}" / "part-0.csv").unlink()
    (get_settings().home / "raw" / f"date={DAYS[5]}").rmdir()
    steps = plan(lake)
    assert named(steps) == from_day(5)
    assert [step.possible for step in steps[:4]] == [False, False, False, True]
    assert steps[0].reasons == ("a gap: it has no raw log",)
    told = CliRunner().invoke(cli, ["backfill-plan"]).stdout
    assert f"No raw log of {DAYS[5]}" in told
    assert "CTR_EMPTY_DAYS" in told
    monkeypatch.setenv("CTR_EMPTY_DAYS", str(DAYS[5]))
    get_settings.cache_clear()
    assert plan(lake)[0].reasons == ("not published",)
    assert all(step.possible for step in plan(lake))


def test_raw_logs_that_were_cleared_away_make_nothing_stale(lake):
    (get_settings().home / "raw" / f"date={DAYS[0]}" / "part-0.csv").unlink()
    assert plan(lake) == []


def test_raw_days_outside_of_what_is_published_are_not_asked_for(lake):
    deliver(FIRST - timedelta(days=30))
    deliver(DAYS[-1] + timedelta(days=1))
    assert plan(lake) == []


def test_a_table_with_other_columns_is_stale(lake):
    publish(lake, "training", DAYS[11], schema="of an older version")
    assert [(step.stage, step.day, step.reasons) for step in plan(lake)] == [
        ("training", DAYS[11], ("training has other columns now",))
    ]


def test_a_changed_setting_makes_its_table_and_dependents_stale(lake, monkeypatch):
    monkeypatch.setenv("CTR_USER_FEW_IMPRESSIONS", "9")
    get_settings.cache_clear()
    steps = plan(lake)
    assert named(steps) == [f"training/{day}" for day in DAYS]
    assert steps[0].reasons == ("CTR_USER_FEW_IMPRESSIONS has changed from 5 to 9",)
    monkeypatch.setenv("CTR_SCENES", "4,3,2,1,0")
    get_settings.cache_clear()
    steps = plan(lake)
    assert {step.stage for step in steps} == {"features", "training"}
    assert steps[0].reasons == ("CTR_SCENES has changed from 0,1,2,3,4 to 4,3,2,1,0",)
    monkeypatch.undo()


def test_a_build_of_an_earlier_version_names_all_its_settings(lake, monkeypatch):
    path = f"_manifests/features/dt={DAYS[11]}.json"
    hashed = get_settings().digest(*shaping("features"))
    lake.write_json(path, lake.read_json(path) | {"settings": hashed})
    assert plan(lake) == []
    monkeypatch.setenv("CTR_RETENTION_DAYS", "30")
    get_settings.cache_clear()
    told = "at least one of these settings has changed: CTR_SCENES, CTR_CTR_SMOOTHING, CTR_RETENTION_DAYS"
    assert plan(lake)[-2].reasons[-1] == told
    monkeypatch.undo()


def test_a_setting_that_shapes_a_stage_since_then_is_named(lake):
    path = f"_manifests/logs/dt={DAYS[11]}.json"
    lake.write_json(path, lake.read_json(path) | {"settings": get_settings().values("entity_separators")})
    assert plan(lake)[0].reasons == ("CTR_MAX_FIELD_BYTES was not yet among its settings",)


def test_tables_can_be_redone_from_logs_without_raw_files(lake, monkeypatch):
    """Logs whose raw files were cleared away stay as they are."""
    for path in (get_settings().home / "raw" / f"date={DAYS[0]}", get_settings().home / "raw" / f"date={DAYS[11]}"):
        (path / "part-0.csv").unlink()
    monkeypatch.setenv("CTR_ENTITY_SEPARATORS", "#")
    monkeypatch.setenv("CTR_RETENTION_DAYS", "30")
    get_settings.cache_clear()
    steps = plan(lake)
    assert not {("logs", DAYS[0]), ("logs", DAYS[11])} & {(step.stage, step.day) for step in steps}
    assert all(step.possible for step in steps)
    monkeypatch.undo()


def test_a_missing_training_day_is_planned_without_other_days(lake):
    """The commands, which go through Airflow, run to the last day nevertheless."""
    lake.fs.rm(lake.path(f"_manifests/training/dt={DAYS[4]}.json"))
    told = json.loads(CliRunner().invoke(cli, ["backfill-plan", "--json"]).stdout)
    assert [(step["stage"], step["day"]) for step in told["steps"]] == [("training", str(DAYS[4]))]
    assert all(str(DAYS[11]) in command for command in told["commands"])
    current = [f"{stage}/{day}" for day in DAYS for stage in STAGES if is_current(lake, stage, day)]
    assert len(current) == 3 * len(DAYS) - 1
    assert f"training/{DAYS[4]}" not in current


def test_plan_never_suggests_declaring_a_published_day_empty(lake):
    """The raw log of the day was cleared away."""
    (get_settings().home / "raw" / f"date={DAYS[4]}" / "part-0.csv").unlink()
    told = CliRunner().invoke(cli, ["backfill-plan", "--changed", str(DAYS[4])]).stdout
    assert f"The raw log of {DAYS[4]} was cleared away" in told
    assert "CTR_EMPTY_DAYS" not in told


def test_the_command_names_days_reasons_and_commands(lake):
    span = f"{DAYS[8]}..{DAYS[9]}"
    told = json.loads(CliRunner().invoke(cli, ["backfill-plan", "--changed", span, "--json"]).stdout)
    assert [step["stage"] for step in told["steps"][:4]] == ["logs", "features", "training", "logs"]
    assert told["commands"] == [f"ctr {name} --from {DAYS[8]} --to {DAYS[11]}" for name in ("backfill", "history")]
    assert CliRunner().invoke(cli, ["backfill-plan", "--changed", "yesterday"]).exit_code != 0


@pytest.fixture
def versions(lake, monkeypatch):
    """Version 1 learnt the days up to 6, version 2 those up to 9; each is of the day after."""
    builds = {day: lake.manifest("training", day).build for day in DAYS}
    known = [
        model_version(
            number,
            log_day=DAYS[last + 1],
            trained_from=DAYS[0],
            trained_through=DAYS[last],
            builds={day: builds[day] for day in DAYS[first : last + 1]},
        )
        for number, first, last in ((2, 7, 9), (1, 0, 6))
    ]
    monkeypatch.setattr(registry, "versions", lambda: known)
    lake.write_record(train(DAYS[10], 2, rows=3, seconds=6.0))


def test_the_plan_names_the_versions_and_the_next_candidate(lake, versions):
    told = json.loads(CliRunner().invoke(cli, ["backfill-plan", "--changed", str(DAYS[8]), "--json"]).stdout)
    assert (told["models"], told["outdated"]) == ([2], {})
    following = {"day": str(DAYS[11] + timedelta(days=1)), "base": 1, "days": 5, "rows": 5, "seconds": 10.0}
    assert told["next_candidate"] == following
    page = CliRunner().invoke(cli, ["backfill-plan", "--changed", str(DAYS[8])]).stdout
    assert "continues version 1 and trains on 5 days (5 rows, about 10 s of training)" in page


def test_a_version_that_learnt_a_replaced_build_is_outdated(lake, versions):
    for day in DAYS[2:]:
        for stage in STAGES:
            publish(lake, stage, day)
    told = json.loads(CliRunner().invoke(cli, ["backfill-plan", "--json"]).stdout)
    assert told["steps"] == []
    assert set(told["outdated"]) == {"1", "2"}
    assert told["next_candidate"]["base"] is None
    assert "Version 1 is outdated" in CliRunner().invoke(cli, ["backfill-plan"]).stdout
