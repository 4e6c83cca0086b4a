"""One damaged file of the lake costs readers of many days that day alone; who reads that one file is told."""

import json
from datetime import date, timedelta

import pytest
import sample_records
from lake_day import stage
from typer.testing import CliRunner

from include.airflow_control import airflow_local
from include.cli.app import cli
from include.days.day_states import State, states
from include.errors import DamagedFileError
from include.lake.lake import get_lake
from include.lake.lenient_lake import get_lenient_lake
from include.records import Decision, Train

DAY = date(2023, 7, 10)
DAYS = [DAY + timedelta(days=number) for number in range(3)]
DAMAGES = {
    "cut off": '{"day": "2023-07-11", "versi',
    "another form": '{"version": "three"}',
    "no object": "[]",
    "no text": b"\x00\xff\x00",
}


@pytest.fixture
def lake(home):
    """Three days with a candidate each; the middle one's record is for the test to damage."""
    for number, day in enumerate(DAYS):
        get_lake().write_record(sample_records.train(day, number + 1))
    return get_lake()


def damage(lake, path, content):
    lake.write_bytes(path, content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("content", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize(
    "path", ["_records/train", "_records/decision", "_records/quality/logs", "_manifests/features"]
)
def test_other_days_keep_their_state(lake, path, content):
    damage(lake, f"{path}/dt={DAYS[1]}.json", content)
    found = states(lake, DAYS, {}, [])
    assert [found[day].state for day in DAYS] == [State.NO_LOG, State.DAMAGED, State.NO_LOG]
    assert f"{path}/dt={DAYS[1]}.json" in found[DAYS[1]].detail
    assert "Restore the file" in found[DAYS[1]].next_step
    assert found[DAYS[1]].needs_person


def test_a_damaged_record_or_manifest_is_refused_where_needed(lake):
    damage(lake, f"_records/train/dt={DAYS[1]}.json", "{")
    damage(lake, f"_manifests/logs/dt={DAYS[1]}.json", '{"stage": "logs", "tables": {"logs": {}}}')
    with pytest.raises(DamagedFileError, match=r"train/dt=2023-07-11.json is not JSON") as error:
        lake.record(Train, DAYS[1])
    assert (error.value.exit_status, error.value.http_status) == (2, 500)
    with pytest.raises(DamagedFileError, match=r"does not hold a manifest: .*tables.logs.path: Field required"):
        lake.manifest("logs", DAYS[1])
    lenient = get_lenient_lake()
    assert (lenient.record(Train, DAYS[1]), lenient.manifest("logs", DAYS[1])) == (None, None)
    assert lenient.record(Train, DAYS[2]).version == 3
    assert lenient.record(Decision, DAYS[2]) is None
    assert list(lenient.damaged) == [DAYS[1]]


def test_a_damaged_mark_of_staging_is_refused(lake):
    stage(lake, "new")
    damage(lake, f"_staging/logs/dt={DAY}/staged.json", '{"manifest": {}, "quality": {}}')
    with pytest.raises(DamagedFileError, match=r"staged.json does not hold"):
        lake.staged("logs", DAY)


def test_status_lists_the_day_as_damaged(lake, monkeypatch):
    monkeypatch.setattr(airflow_local, "connect", lambda: None)
    for day in DAYS:
        lake.write_record(sample_records.decision(day, 1))
    damage(lake, f"_records/decision/dt={DAYS[1]}.json", "{}")
    result = CliRunner().invoke(cli, ["status", "--json"])
    assert result.exit_code == 0
    assert [row["state"]["state"] for row in json.loads(result.stdout)] == [
        "no log came",
        "damaged file",
        "no log came",
    ]


def test_monitor_lists_the_other_days_and_names_the_file(lake):
    for day in DAYS:
        lake.write_record(sample_records.monitor(day))
    damage(lake, f"_records/monitor/dt={DAYS[1]}.json", "{}")
    result = CliRunner().invoke(cli, ["monitor"])
    assert result.exit_code == 0
    assert f"monitor/dt={DAYS[1]}.json does not hold a record" in result.stderr
    assert [row["day"] for row in json.loads(CliRunner().invoke(cli, ["monitor", "--json"]).stdout)] == [
        str(DAYS[0]),
        str(DAYS[2]),
    ]
