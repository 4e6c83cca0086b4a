"""A notice about a raw log says what is there, what is missing, and what to do."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

from include.days.waits import Change, News
from include.orchestration.alerts import notice_of_change, notice_of_wait
from include.records import Wait

DAY = date(2023, 7, 14)
CONTEXT = {
    "task": SimpleNamespace(dag_id="ctr_daily", task_id="wait_for_raw"),
    "ti": SimpleNamespace(run_id="r1"),
}
WAIT = Wait(
    day=DAY,
    since=datetime(2023, 7, 15, tzinfo=UTC),
    due=datetime(2023, 7, 15, 2, tzinfo=UTC),
    until=datetime(2023, 7, 15, 6, tzinfo=UTC),
)


def test_what_a_wait_lacks_is_in_its_notice():
    wait = WAIT.model_copy(update={"waits_for": "2 files, 1.3 MB; waits for _SUCCESS."})
    notice = notice_of_wait(News(DAY, "overdue", wait), CONTEXT)
    assert "Expected by 2023-07-15 02:00 UTC. 2 files, 1.3 MB; waits for _SUCCESS. Its run waits until" in notice.text
    gave_up = wait.model_copy(update={"gave_up_at": wait.until})
    notice = notice_of_wait(News(DAY, "missing", gave_up), CONTEXT)
    assert "was skipped. At its last look: 2 files, 1.3 MB; waits for _SUCCESS." in notice.text


def test_files_that_came_after_ingest_are_named_with_the_command():
    change = Change(DAY, (f"date={DAY}/part-1.csv",), last=DAY + timedelta(days=2))
    notice = notice_of_change(change, CONTEXT)
    assert notice.title == f"ctr_daily, {DAY}: raw files changed after ingest"
    assert f"its raw files changed: date={DAY}/part-1.csv." in notice.text
    assert f"`ctr backfill --from {DAY} --to 2023-07-16`" in notice.advice
    assert not notice.failed
