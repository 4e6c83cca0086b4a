"""A monitored day says how the champion did, what drifted and how fresh all is, and where it cannot, why."""

import os
from datetime import timedelta

import fabricate
import numpy as np
import pyarrow as pa
import pytest
from sample_records import estimate, evaluated_champion, evaluation, group
from scored_days import as_table, make_day, model

from include.features import FEATURES
from include.metrics_records import ColumnDrift, FigureChanges, PublishedUntil
from include.records import Monitor
from training.evaluate import predictions
from training.monitor import monitor
from training.monitor.realised import BETTER

DAYS, ROWS = 5, 600
LAST = fabricate.day(DAYS - 1)


def evaluated(world, number: int, auc: float = 0.7, version: int = 3) -> None:
    """Writes the record `evaluation` of a day whose champion had not seen it."""
    whole = dict.fromkeys(BETTER, estimate(auc))
    champion = evaluated_champion(version, fabricate.day(number - 1))
    groups = [group("scene", scene=scene, champion=whole) for scene in fabricate.SCENES]
    record = evaluation(fabricate.day(number), champion=champion, headline={"champion": whole}, groups=groups)
    world.lake.write_record(record)


def scored(world, number: int, champion: bool = True, times: float = 1.0) -> None:
    """Writes predictions of a day."""
    day = make_day(2_000, number)
    said = np.minimum(model(day, 1) * times, 1)
    predictions.write(world.lake, fabricate.day(number), as_table(day.rows(said, said if champion else None)))


def feature(record: Monitor, name: str) -> ColumnDrift:
    return next(column for column in record.drift.features if column.name == name)


def test_a_day_without_evaluation_or_champion_still_shows_drift(world) -> None:
    """The record says what is missing."""
    record = monitor.run(LAST, world.settings)
    assert (record.metrics, record.metrics_note) == (None, "the day was not evaluated")
    assert record.champion is None
    assert record.drift.note is None
    assert record.drift.reference == [fabricate.day(number) for number in range(DAYS - 1)]
    assert (record.drift.rows_now, record.drift.rows_then) == (ROWS, ROWS * (DAYS - 1))
    assert record.drift.predictions.band == "insufficient"
    assert world.lake.record(Monitor, LAST) == record


def test_a_planted_shift_leads_the_list_and_is_told(world) -> None:
    assert feature(monitor.run(LAST, world.settings), "hour_of_day").band == "stable"
    fabricate.publish(world.lake, world.log, DAYS - 1, hour_of_day=23)
    record = monitor.run(LAST, world.settings)
    assert feature(record, "hour_of_day").band == "shifted"
    values = [column.psi for column in record.drift.features]
    assert values == sorted(values, reverse=True)
    assert any("features have shifted" in alert and "hour_of_day" in alert for alert in record.alerts)


def test_missing_values_are_told_then_and_now(world) -> None:
    fabricate.publish(world.lake, world.log, DAYS - 1, deep_features_3=np.nan)
    drift = feature(monitor.run(LAST, world.settings), "deep_features_3")
    assert (drift.null_then, drift.null_now, drift.band) == (0, 1, "shifted")


def test_a_changed_scene_ctr_is_no_drift_of_dependent_features(world) -> None:
    rates = [feature.name for feature in FEATURES if feature.transform == "logit"]
    for number, ctr in ((3, 0.10), (4, 0.11)):
        fabricate.publish(world.lake, world.log, number, **dict.fromkeys(rates, ctr))
    for number in range(3):
        fabricate.publish_empty(world.lake, world.log, number)
    record = monitor.run(LAST, world.settings)
    assert feature(record, "user_ctr_7d").psi == 0
    assert "scene_ctr_7d" not in [column.name for column in record.drift.features]
    fabricate.publish(world.lake, world.log, 4, **dict.fromkeys(rates, 0.11) | {"user_ctr_7d": 0.2})
    assert feature(monitor.run(LAST, world.settings), "user_ctr_7d").band == "shifted"


def test_days_to_come_are_no_reference(world) -> None:
    before = monitor.run(fabricate.day(2), world.settings)
    fabricate.publish(world.lake, world.log, DAYS - 1, hour_of_day=23)
    assert monitor.run(fabricate.day(2), world.settings).drift == before.drift


def test_the_first_day_has_nothing_to_be_compared_with(world) -> None:
    record = monitor.run(fabricate.day(0), world.settings)
    assert record.drift.note.startswith("insufficient: 0 rows")
    assert {column.band for column in record.drift.features} == {"insufficient"}


def test_a_day_that_is_not_published_is_late_and_no_error(world) -> None:
    record = monitor.run(LAST + timedelta(days=2), world.settings)
    assert record.freshness.published["training"] == PublishedUntil(last=LAST, days_behind=2)
    assert f"training: the day is not published, the last one is {LAST}." in record.alerts
    assert record.rows == 0


def test_the_evaluated_champion_is_monitored_with_its_age(world) -> None:
    evaluated(world, DAYS - 1)
    record = monitor.run(LAST, world.settings)
    assert record.champion.version == 3
    assert record.freshness.model_age_days == 2
    assert record.metrics.all["auc"].value == 0.7
    assert set(record.metrics.scenes) == set(fabricate.SCENES)


def test_a_fall_below_what_the_days_before_showed_is_told(world) -> None:
    for number, auc in ((1, 0.69), (2, 0.70), (3, 0.71), (4, 0.65)):
        evaluated(world, number, auc)
        record = monitor.run(fabricate.day(number), world.settings)
    change = record.change.all["auc"]
    assert (change.days, change.mean, change.change, change.worse) == (3, 0.7, -0.05, True)
    alerts_of_day = "auc of all rows is 0.6500; the intervals of 3 earlier days covered 0.6800 to 0.7200."
    assert alerts_of_day in record.alerts


def test_a_rerun_of_a_day_is_not_compared_with_itself(world) -> None:
    evaluated(world, DAYS - 1)
    first, again = (monitor.run(LAST, world.settings) for _ in range(2))
    nothing = FigureChanges(all={}, scenes={scene: {} for scene in fabricate.SCENES})
    assert first.change == again.change == nothing


@pytest.mark.parametrize(("times", "band"), [(1.0, "stable"), (2.0, "shifted")])
def test_champion_predictions_are_compared_only_on_unseen_days(world, times: float, band: str) -> None:
    scored(world, 1, champion=False)
    scored(world, 2)
    scored(world, DAYS - 1, times=times)
    record = monitor.run(LAST, world.settings)
    assert record.drift.predictions.band == band
    assert any(alert.startswith("predictions of the champion shifted") for alert in record.alerts) == (times > 1)


def test_a_champion_that_predicts_nan_is_an_alert_not_an_error(world) -> None:
    scored(world, 3)
    scored(world, DAYS - 1, times=np.nan)
    alert = next(record for record in monitor.run(LAST, world.settings).alerts if record.startswith("predictions"))
    assert alert.endswith("missing 0.0% then, 100.0% now.")


def test_raw_files_tell_when_they_came(world) -> None:
    assert monitor.run(LAST, world.settings).freshness.seconds_since_raw is None
    folder = world.home / "raw" / f"date={LAST}"
    folder.mkdir(parents=True)
    for name, moment in (("part-0.csv", 1_700_000_000), ("part-1.csv", 1_700_000_060)):
        (folder / name).write_text("x")
        os.utime(folder / name, (moment, moment))
    fresh = monitor.run(LAST, world.settings).freshness
    assert fresh.raw_arrived_at == "2023-11-14T22:14:20+00:00"
    assert fresh.seconds_since_raw > 0


def test_a_large_day_is_read_in_parts_and_sampled(world, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "SAMPLE_ROWS", 550)
    small = world.settings.model_copy(update={"shard_rows": 100})
    record, whole = monitor.run(LAST, small), monitor.run(LAST, world.settings)
    assert record.drift == whole.drift
    assert record.drift.rows_then == ROWS * (DAYS - 1)


def test_an_empty_day_is_not_judged(world) -> None:
    empty = LAST + timedelta(days=1)
    fabricate.publish_empty(world.lake, world.log, DAYS)
    record = monitor.run(empty, world.settings)
    assert record.drift.note is not None
    assert record.freshness.published["training"].days_behind == 0


def test_predictions_without_a_champion_are_no_rows(world) -> None:
    scored(world, 1, champion=False)
    assert pa.concat_tables(predictions.champion_parts(world.lake, fabricate.day(1))).num_rows == 0
    assert list(predictions.champion_parts(world.lake, fabricate.day(2))) == []
