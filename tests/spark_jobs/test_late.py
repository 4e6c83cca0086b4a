"""Late events end in the logs of their own day exactly once, or in quarantine; days may be declared empty."""

from datetime import timedelta

import pytest
from pydantic import ValidationError
from small_days import DAY, contents, csv_text, raw_row, read, run_stage, write_raw

from include.days.backfill_plan import stale_inputs
from include.errors import InvalidInputError, MissingDataError
from include.lake.late_events import REACH, late_key, late_version
from include.settings import Settings, get_settings

pytestmark = pytest.mark.spark

ARRIVAL = DAY + timedelta(days=2)
NEXT = DAY + timedelta(days=1)


def at(n, day, **changes):
    """A raw row of a day."""
    return raw_row(n, log_time=f"{day} 00:{n // 60 % 60:02d}:{n % 60:02d}", **changes)


@pytest.fixture
def use(monkeypatch):
    """Changes settings of a test."""

    def change(**values):
        for name, value in values.items():
            monkeypatch.setenv(f"CTR_{name.upper()}", value)
        get_settings.cache_clear()

    return change


def arrive(rows, day=ARRIVAL, name="part-0.csv"):
    write_raw(csv_text([*(at(n, day) for n in range(20)), *rows]), name, day)


def stale(lake, day=DAY):
    return stale_inputs(lake, lake.manifest("logs", day))


def check(quality, name):
    return next(each for each in quality.checks if each.name == name)


def test_late_rows_reach_their_day_exactly_once_on_its_rerun(spark, lake, use):
    use(late_events="route")
    write_raw(csv_text([at(n, DAY) for n in range(30)]))
    run_stage(spark, lake, "logs")
    hostile = at(105, DAY, item_title='two\nlines, "quoted" 龙井', query_entity_seq="tea|cup")
    arrive([*(at(100 + n, DAY) for n in range(5)), hostile, *(at(200 + n, NEXT) for n in range(3))])
    quality = run_stage(spark, lake, "logs", ARRIVAL)
    manifest = lake.manifest("logs", ARRIVAL)
    assert {name: table.rows for name, table in manifest.tables.items()} == {"logs": 20, "late": 9, "quarantine": 0}
    assert {day: part["rows"] for day, part in manifest.profile["late"].items()} == {str(DAY): 6, str(NEXT): 3}
    assert check(quality, "expect_no_late_events").observed.startswith("9 rows of 2 earlier days routed")
    assert check(quality, "expect_no_late_events").status == "warning"
    assert "20 logs + 9 late + 0 quarantine = 29" in check(quality, "expect_rows_conserved").observed

    assert stale(lake) == [late_key(DAY)]
    for _ in range(2):
        quality = run_stage(spark, lake, "logs")
        logs = read(lake, "logs").set_index("event_id")
        assert len(logs) == 36
        assert logs.index.is_unique
        assert sum(event.startswith(f"date={ARRIVAL}/part-0.csv#") for event in logs.index) == 6
        late = logs.loc[f"date={ARRIVAL}/part-0.csv#25"]
        assert (late["item_title"], list(late["query_entities"])) == ('two\nlines, "quoted" 龙井', ["tea", "cup"])
        assert (str(late["log_ts"]), late["scene"]) == (f"{DAY} 00:01:45", "0")
        assert {each.status for each in quality.checks} == {"pass"}
        assert stale(lake) == []
    assert lake.manifest("logs", DAY).inputs[late_key(DAY)] == late_version(lake, DAY)
    assert lake.manifest("logs", DAY).rows_in == 30


def test_only_changed_late_rows_make_their_day_stale(spark, lake, use):
    use(late_events="route")
    write_raw(csv_text([at(n, DAY) for n in range(30)]))
    run_stage(spark, lake, "logs")
    arrive([at(100, DAY), at(101, DAY)])
    run_stage(spark, lake, "logs", ARRIVAL)
    run_stage(spark, lake, "logs")
    before = contents(lake, "logs")
    run_stage(spark, lake, "logs", ARRIVAL)
    assert stale(lake) == []
    arrive([at(100, DAY), at(101, DAY, label="1")])
    run_stage(spark, lake, "logs", ARRIVAL)
    assert stale(lake) == [late_key(DAY)]
    use(late_events="quarantine")
    run_stage(spark, lake, "logs", ARRIVAL)
    assert late_version(lake, DAY) is None
    assert stale(lake) == [late_key(DAY)]
    run_stage(spark, lake, "logs")
    assert (stale(lake), len(before) - len(contents(lake, "logs"))) == ([], 2)


def test_late_rows_of_two_arrival_days_add_up(spark, lake, use):
    """A manifest that does not know of late rows becomes stale."""
    use(late_events="route")
    write_raw(csv_text([at(n, DAY) for n in range(10)]))
    run_stage(spark, lake, "logs")
    assert late_key(DAY) not in lake.manifest("logs", DAY).inputs
    arrive([at(100, DAY)], NEXT)
    arrive([at(100, DAY), at(100, DAY)], ARRIVAL)
    for day in (NEXT, ARRIVAL):
        run_stage(spark, lake, "logs", day)
    assert stale(lake) == [late_key(DAY)]
    assert read(lake, "quarantine", ARRIVAL)["reasons"].map(list).tolist() == [["duplicate_event"]]
    run_stage(spark, lake, "logs")
    assert lake.manifest("logs", DAY).profile["arrived"] == {str(NEXT): 1, str(ARRIVAL): 1}
    assert len(read(lake, "logs")) == 12


def test_the_quarantine_policy_rejects_late_rows(spark, lake):
    """The check says how many rows of how many days there are."""
    arrive([at(100, DAY), at(101, DAY), at(102, NEXT, scene="9")])
    quality = run_stage(spark, lake, "logs", ARRIVAL)
    reasons = read(lake, "quarantine", ARRIVAL)["reasons"].map(list).tolist()
    assert sorted(reasons) == [["late_event"], ["late_event"], ["unknown_scene", "late_event"]]
    found = check(quality, "expect_no_late_events")
    assert (found.observed, found.status) == ("3 rows of 2 earlier days quarantined", "warning")
    assert lake.manifest("logs", ARRIVAL).tables["late"].rows == 0
    assert late_version(lake, DAY) is None


def test_both_policies_reject_rows_too_old_or_of_a_later_day(spark, lake, use):
    """Such a row is of another day, not late."""
    use(empty_days=str(DAY))
    run_stage(spark, lake, "logs")
    for policy in ("quarantine", "route"):
        use(late_events=policy, late_days="1")
        arrive([at(100, DAY), at(101, ARRIVAL + timedelta(days=1)), at(102, NEXT), at(103, NEXT, label="yes")])
        run_stage(spark, lake, "logs", ARRIVAL)
        rejected = read(lake, "quarantine", ARRIVAL).set_index("source_row")["reasons"].map(list).to_dict()
        assert rejected[20] == rejected[21] == ["timestamp_of_another_day"]
        routed = policy == "route"
        assert rejected[23] == ["label_not_0_or_1"] if routed else ["label_not_0_or_1", "late_event"]
        assert (22 in rejected, lake.manifest("logs", ARRIVAL).tables["late"].rows) == (not routed, int(routed))


def test_late_rows_before_the_first_published_day_are_rejected(spark, lake, use):
    """Nothing would ever take them in."""
    use(late_events="route")
    arrive([at(100, DAY)])
    quality = run_stage(spark, lake, "logs", ARRIVAL)
    assert check(quality, "expect_no_late_events").observed == "1 row of 1 earlier day quarantined"
    use(empty_days=str(NEXT))
    run_stage(spark, lake, "logs", NEXT)
    arrive([at(100, DAY), at(101, NEXT), at(102, NEXT, scene="9")])
    run_stage(spark, lake, "logs", ARRIVAL)
    rejected = read(lake, "quarantine", ARRIVAL).set_index("source_row")["reasons"].map(list).to_dict()
    assert rejected == {20: ["late_event"], 22: ["unknown_scene"]}
    assert set(lake.manifest("logs", ARRIVAL).profile["late"]) == {str(NEXT)}


def test_accepted_late_rows_stay_when_late_days_is_lowered(spark, lake, use):
    use(late_events="route", empty_days=str(DAY), late_days="31")
    run_stage(spark, lake, "logs")
    arrival = DAY + timedelta(days=31)
    arrive([at(100, DAY)], arrival)
    run_stage(spark, lake, "logs", arrival)
    run_stage(spark, lake, "logs")
    use(late_days="0")
    assert stale(lake) == []
    run_stage(spark, lake, "logs")
    assert read(lake, "logs")["event_id"].tolist() == [f"date={arrival}/part-0.csv#20"]
    with pytest.raises(ValidationError):
        Settings(late_days=REACH.days + 1)


def test_a_day_with_rows_is_not_replaced_by_an_empty_one(spark, lake, use):
    """Its raw files are gone, and it is declared empty."""
    use(empty_days=str(DAY))
    path = write_raw(csv_text([at(n, DAY) for n in range(3)]))
    run_stage(spark, lake, "logs")
    path.unlink()
    with pytest.raises(
        InvalidInputError, match=f"logs of {DAY} are published from 3 raw rows.*remove {DAY} from CTR_EMPTY"
    ):
        run_stage(spark, lake, "logs")
    assert len(read(lake, "logs")) == 3


def test_a_day_declared_empty_is_published_without_rows(spark, lake, use):
    """Other days are not compared with it."""
    with pytest.raises(MissingDataError, match=f"CTR_EMPTY_DAYS={DAY}"):
        run_stage(spark, lake, "logs")
    use(empty_days=f"2023-01-01, {DAY}")
    quality = run_stage(spark, lake, "logs")
    assert {each.status for each in quality.checks} == {"pass"}
    assert check(quality, "expect_rows").expected.startswith("declared empty")
    manifest = lake.manifest("logs", DAY)
    assert (manifest.rows_in, {table.rows for table in manifest.tables.values()}, stale(lake)) == (0, {0}, [])
    from spark_jobs.audit.checks import found_shares, trailing
    from spark_jobs.session import read_table

    assert all(read_table(spark, lake, table, DAY, "a test").count() == 0 for table in manifest.tables)
    assert trailing(lake, NEXT) == []
    assert [each.status for each in found_shares(0, {"user": 0}, has_snapshot=True)] == ["pass"]
    write_raw(csv_text([at(n, DAY) for n in range(3)]))
    assert stale(lake) == [f"raw/{DAY}"]
    run_stage(spark, lake, "logs")
    assert len(read(lake, "logs")) == 3


def test_an_empty_day_takes_in_late_events(spark, lake, use):
    use(empty_days=str(DAY), late_events="route")
    run_stage(spark, lake, "logs")
    arrive([at(100, DAY)])
    run_stage(spark, lake, "logs", ARRIVAL)
    assert stale(lake) == [late_key(DAY)]
    run_stage(spark, lake, "logs")
    assert read(lake, "logs")["event_id"].tolist() == [f"date={ARRIVAL}/part-0.csv#20"]
