"""`ctr monitor` shows the newest days, the figures where there are any, and the last day's alerts."""

import json
from datetime import date
from pathlib import Path

import sample_records
from typer.testing import CliRunner

from include.cli.app import cli
from include.lake.lake import get_lake
from include.metrics_records import Figures
from include.records import MonitoredChampion


def monitored(day: date, *, honest: bool = True) -> None:
    columns = (("user_ctr_7d", 0.31, "shifted"), ("scene", 0.01, "stable"))
    figures = dict.fromkeys(("auc", "scene_mean_auc", "gauc"), sample_records.estimate(0.71))
    champion = MonitoredChampion(version=3, trained_through=day, status="unseen")
    record = sample_records.monitor(
        day,
        champion=champion if honest else None,
        metrics=Figures(all=figures, scenes={}) if honest else None,
        metrics_note=None if honest else "the day was not evaluated",
        drift=sample_records.drift(features=[sample_records.column_drift(*column) for column in columns]),
        freshness=sample_records.freshness(day, 0, model_age_days=1, seconds_since_raw=60),
        alerts=["1 of 2 features have shifted (PSI): user_ctr_7d 0.31."],
    )
    get_lake().write_record(record)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["monitor", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_json_has_a_row_for_each_of_the_newest_days(home: Path) -> None:
    for number in range(10, 14):
        monitored(date(2023, 7, number), honest=number > 12)
    rows = json.loads(run("--last", "2", "--json"))
    assert [row["day"] for row in rows] == ["2023-07-12", "2023-07-13"]
    assert [row["auc"] for row in rows] == [None, 0.71]
    assert [row["training_until"] for row in rows] == ["2023-07-12", "2023-07-13"]
    assert rows[0]["metrics_note"] == "the day was not evaluated"
    assert (rows[1]["champion"], rows[1]["most_drifted"], rows[1]["psi"]) == (3, "user_ctr_7d", 0.31)


def test_the_table_ends_with_what_the_newest_day_wants_looked_at(home: Path, capsys) -> None:
    monitored(date(2023, 7, 12), honest=False)
    from include.cli.monitor import monitor

    monitor(last=14)
    told = capsys.readouterr().out
    assert "user_ctr_7d" in told
    assert "2023-07-12 has no metrics: the day was not evaluated." in told
    assert "2023-07-12: 1 of 2 features have shifted" in told


def test_without_a_monitored_day_it_says_where_they_come_from(home: Path, capsys) -> None:
    assert json.loads(run("--json")) == []
