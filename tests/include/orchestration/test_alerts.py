"""One notice a failure, to the log and where the team wants it; nothing that goes wrong on the way hides the failure."""

import json
import logging
import re
import sys
from datetime import UTC, date, datetime
from types import ModuleType, SimpleNamespace

import pytest
from airflow.sdk.api.datamodels._generated import DagRunType

from include.checks import check_result
from include.days.waits import News
from include.errors import DataQualityError, InvalidInputError, MissingDataError
from include.orchestration import alerts, webhook
from include.orchestration.alerts import NOTIFIED, notice_of, notice_of_wait, notify, notify_failure, notify_killed
from include.records import Wait
from include.settings import Settings, get_settings

DAY = date(2023, 7, 14)
LOG = "http://airflow.example/dags/ctr_daily/runs/r1/tasks/check_logs?try_number=1"
HOSTILE = '<!channel> & "<https://evil.example|click>"\nforged: line\x00\ud800\u202e' + "&" * 500


PUSHED = []


@pytest.fixture(autouse=True)
def airflow_at(monkeypatch):
    PUSHED.clear()
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example/")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(webhook, "PAUSES", (0.0, 0.0))


@pytest.fixture
def setting(home, monkeypatch):
    """Sets one setting for the test."""

    def use(name, value):
        monkeypatch.setenv(name, value)
        get_settings.cache_clear()

    return use


@pytest.fixture
def hook(receiver, setting):
    """Starts the webhook of the settings; it gives these answers in turn, then 200."""

    def start(*answers):
        started = receiver(*answers)
        setting("CTR_NOTICE_WEBHOOK", started.url)
        return started

    return start


def failed_check(name="expect_label", observed="7", table="logs"):
    return check_result(table, name, False, "0 or 1", observed, column="label", failing_rows=1234)


def context(task="check_logs", error=None, checks=(), start=datetime(2023, 7, 14, tzinfo=UTC), **params):
    """What Airflow hands to a callback, as far as a notice reads it."""
    if checks:
        error = DataQualityError(f"{len(checks)} critical check(s) failed on logs\n- all of them", checks)
    return {
        "task": SimpleNamespace(dag_id="ctr_daily", task_id=task),
        "ti": SimpleNamespace(run_id="r1", log_url=LOG, xcom_push=lambda key, value: PUSHED.append((key, value))),
        "data_interval_start": start,
        "params": params,
        "exception": error,
    }


def texts(body):
    """Every text of a message in Slack's form, the fallback first."""
    found = [body["text"]]
    for block in body["blocks"]:
        found += [
            each["text"] for each in [block.get("text"), *block.get("fields", []), *block.get("elements", [])] if each
        ]
    return found


def test_notice_of_a_failed_check_has_its_details_and_a_link(home):
    """Name the table, the day, the check, and what was expected and observed."""
    notice = notice_of(context(checks=[failed_check()]))
    (check,) = notice.checks
    assert (notice.dag, notice.run, notice.day, notice.task) == ("ctr_daily", "r1", DAY, "check_logs")
    assert [getattr(check, name) for name in ("table", "name", "column", "expected", "observed", "failing_rows")] == [
        *("logs", "expect_label", "label", "0 or 1", "7", 1234)
    ]
    assert "ctr quality --day 2023-07-14 --failed" in notice.advice
    assert notice.link == "http://airflow.example/plugin/data-quality/ctr/quality/day?day=2023-07-14"


@pytest.mark.parametrize(
    ("task", "error", "told"),
    [
        ("train", RuntimeError("out of memory"), "out of memory"),
        ("check_logs", MissingDataError("nothing is staged"), "nothing is staged"),
        ("train", TimeoutError(), "TimeoutError()"),
    ],
)
def test_notice_of_another_failure_has_its_error_and_a_log_link(home, task, error, told):
    notice = notice_of(context(task, error))
    assert told in notice.text
    assert (notice.checks, notice.link) == ((), LOG)


def test_a_run_without_a_log_day_is_told_too(home, caplog):
    notify_failure(context("rollback", ValueError("no such champion"), start=None))
    (line,) = caplog.messages
    assert line.startswith("ctr_daily, no log day: rollback failed: no such champion\n")
    assert LOG in line


def test_the_day_of_a_manual_run_is_its_parameter(home):
    assert notice_of(context(error=ValueError(), day="2023-07-01")).day == date(2023, 7, 1)


def test_without_settings_the_log_alone_is_told(home, caplog):
    notify_failure(context(checks=[failed_check()]))
    assert len(caplog.records) == 1
    assert caplog.records[0].levelname == "ERROR"


def test_the_webhook_gets_one_message_that_slack_can_read(hook, caplog):
    got = hook()
    notify_failure(context(checks=[failed_check(), failed_check("expect_rows", "3 rows")]))
    (body,) = got.bodies
    assert got.headers[0]["Content-Type"] == "application/json"
    for told in (
        "2023-07-14",
        "logs",
        "expect_label on label",
        "0 or 1",
        "7",
        "day?day=2023-07-14|Failed checks>",
    ):
        assert told in body["text"], told
    header, reason, first, second, *_ = body["blocks"]
    assert header["text"]["text"] == "ctr_daily, 2023-07-14: check_logs failed"
    assert reason["text"]["text"] == "2 critical check(s) failed on logs"
    assert [each["text"] for each in first["fields"]] == [
        *(
            "*Table*\nlogs",
            "*Check*\nexpect_label on label",
            "*Expected*\n0 or 1",
            "*Observed*\n7",
            "*Failing rows*\n1,234",
        )
    ]
    assert "*Observed*\n3 rows" in [each["text"] for each in second["fields"]]
    assert len(caplog.records) == 1, "the log is told, and of no trouble"


def test_a_refused_backfill_is_told_of_the_day_of_its_range():
    given = context(task="validate_parameters", error=InvalidInputError("no"), day="2023-07-01")
    notice = notice_of(given | {"dag_run": SimpleNamespace(run_type=DagRunType("backfill"))})
    assert notice.title == "ctr_daily, 2023-07-14: validate_parameters failed"


def test_a_check_of_a_whole_table_has_no_failing_rows(hook):
    got = hook()
    notify_failure(context(checks=[failed_check().model_copy(update={"failing_rows": None})]))
    assert "*Failing rows*\nnone by itself" in texts(got.bodies[0])


def test_many_failed_checks_are_one_message_that_counts_the_rest(hook):
    got = hook()
    notify_failure(context(checks=[failed_check(f"check_{n}") for n in range(60)]))
    (body,) = got.bodies
    assert "and 50 more" in texts(body)
    assert "and 59 more" in body["text"]
    assert len(body["blocks"]) <= 50


def test_hostile_values_are_escaped_and_cut_to_slack_limits(hook):
    got = hook()
    checks = [failed_check(HOSTILE, HOSTILE, HOSTILE).model_copy(update={"expected": HOSTILE})] * 20
    notify_failure(context(error=DataQualityError(HOSTILE, checks)))
    notify_failure(context("train", RuntimeError(HOSTILE)))
    for body in got.bodies:
        assert len(body["text"]) <= 4000
        for text in texts(body):
            assert 0 < len(text) <= 3000
            assert re.sub(r"<http://airflow\.example/[^<>|]+\|[A-Za-z ]+>", "", text).count("<") == 0, text
            assert re.search("&(?!amp;|lt;|gt;)", text) is None
        assert all(len(each["text"]) <= 2000 for block in body["blocks"] for each in block.get("fields", []))
        assert all(each.get("verbatim") for block in body["blocks"] for each in block.get("fields", []))
        assert len(body["blocks"][0]["text"]["text"]) <= 150
        assert "\nforged" not in json.dumps(body)


@pytest.mark.parametrize("answers", [(503,), (429, 500)])
def test_a_webhook_that_is_busy_is_tried_again(hook, caplog, answers):
    got = hook(*answers)
    notify_failure(context(checks=[failed_check()]))
    assert len(got.bodies) == len(answers) + 1
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("answers", "tries"), [((503,) * 5, 3), ((404, 200), 1), ((302, 200), 1), ((307, 200), 1)])
def test_a_refusing_webhook_is_logged_and_no_redirect_followed(hook, caplog, answers, tries):
    got = hook(*answers)
    notify_failure(context(checks=[failed_check()]))
    assert len(got.bodies) == tries
    assert f"found status {answers[0]}" in caplog.text


def test_a_dead_webhook_is_logged_and_hides_nothing(setting, caplog):
    setting("CTR_NOTICE_WEBHOOK", "http://127.0.0.1:9/services/the-secret")
    notify_failure(context(checks=[failed_check()]))
    assert "check_logs failed" in caplog.messages[0]
    assert "found ConnectError" in caplog.text


@pytest.mark.parametrize("answers", [(), (503,), (404,), (302,)])
def test_the_url_of_the_webhook_is_in_no_log(hook, caplog, capfd, answers):
    hook(*answers)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="httpx")
    notify_failure(context(checks=[failed_check()]))
    assert "the-secret" not in caplog.text + "".join(capfd.readouterr())


def test_the_url_of_the_webhook_is_in_no_record_of_the_settings(monkeypatch):
    without = Settings()
    chosen = Settings(notice_webhook="https://hooks.example/the-secret", notice_callback="team.pager:call")
    assert "the-secret" not in repr(chosen) + chosen.model_dump_json()
    assert chosen.digest() == without.digest()


@pytest.mark.parametrize(
    "url", ["http://hooks.example/the-secret", "ftp://127.0.0.1/the-secret", "the-secret", "https:///x"]
)
def test_an_insecure_webhook_is_refused_without_printing_it(setting, url):
    setting("CTR_NOTICE_WEBHOOK", url)
    with pytest.raises(InvalidInputError, match=r"CTR_NOTICE_WEBHOOK: .*expected an https:// URL") as error:
        get_settings()
    assert "the-secret" not in str(error.value)
    assert error.value.__context__ is None


def test_the_callback_gets_the_notice_even_if_the_webhook_fails(hook, setting, monkeypatch, caplog):
    notices = []
    monkeypatch.setitem(sys.modules, "pager", ModuleType("pager"))
    monkeypatch.setattr("pager.call", notices.append, raising=False)
    setting("CTR_NOTICE_CALLBACK", "pager:call")
    hook(404)
    notify_failure(context(checks=[failed_check()]))
    assert [(each.day, each.checks[0].name) for each in notices] == [(DAY, "expect_label")]


@pytest.mark.parametrize("where", ["no.such.module:call", "json:no_such_function", "json:loads"])
def test_a_function_that_fails_or_is_not_there_is_logged(setting, caplog, where):
    setting("CTR_NOTICE_CALLBACK", where)
    notify_failure(context(checks=[failed_check()]))
    assert "not delivered (to_callback)" in caplog.text


def test_settings_that_cannot_be_read_hide_nothing(setting, caplog):
    setting("CTR_SEED", "x")
    notify_failure(context(checks=[failed_check()]))
    assert "check_logs failed" in caplog.messages[0]
    assert "CTR_SEED" in caplog.text


def test_a_context_that_cannot_be_read_raises_nothing(home, caplog):
    notify_failure({"task": SimpleNamespace(dag_id="ctr_daily", task_id="train"), "exception": ValueError()})
    assert "could not be made" in caplog.text


def test_what_airflow_masks_in_its_logs_is_masked_in_a_notice(home, monkeypatch):
    monkeypatch.setattr(alerts, "redact", lambda text: text.replace("pw", "***"))
    assert notice_of(context("train", RuntimeError("hdfs://ctr:pw@nn"))).text == "hdfs://ctr:***@nn"


WAIT = Wait(
    day=DAY,
    since=datetime(2023, 7, 15, tzinfo=UTC),
    due=datetime(2023, 7, 15, 2, tzinfo=UTC),
    until=datetime(2023, 7, 15, 6, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("kind", "title", "text", "advice"),
    [
        ("overdue", "waiting for its log", "Its run waits until 2023-07-15 06:00 UTC", "Deliver what is missing to"),
        ("missing", "no complete log came", "and was skipped", "Deliver what is missing to"),
        ("came", "its log has come", "The log of 2023-07-14 has come", "ctr backfill --from 2023-07-14"),
    ],
)
def test_a_missing_log_and_its_arrival_are_told_as_warnings(hook, caplog, kind, title, text, advice):
    got = hook()
    wait = WAIT.model_copy(update={"gave_up_at": WAIT.until}) if kind == "missing" else WAIT
    notify(notice_of_wait(News(DAY, kind, wait), context("wait_for_raw")))
    (body,) = got.bodies
    header, told, next_step, link, _ = texts(body)[1:]
    assert header == f"ctr_daily, 2023-07-14: {title}"
    assert text in told
    assert not told.endswith("…"), "it says too much for the webhook"
    assert advice in next_step
    assert link.endswith("/ctr/quality/day?day=2023-07-14|The day>")
    assert [each.levelname for each in caplog.records] == ["WARNING"]


def test_a_log_that_its_run_has_waited_for_asks_for_nothing(home):
    notice = notice_of_wait(News(DAY, "came", WAIT, run_goes_on=True), context("wait_for_raw"))
    assert notice.advice == "Nothing: its run continues."


def ended(monkeypatch, **tasks):
    """What Airflow hands to a run's callback; each task's state, and whether it sent its notice."""
    monkeypatch.setattr(
        alerts, "_failed_without_notice", lambda dag, run: [name for name, sent in tasks.items() if not sent]
    )
    return {
        "dag": SimpleNamespace(dag_id="ctr_daily"),
        "run_id": "r1",
        "data_interval_start": datetime(2023, 7, 14, tzinfo=UTC),
        "params": {},
    }


def test_a_killed_task_is_reported_only_by_its_run(home, monkeypatch, caplog):
    """The process that finds the task dead sends no notice."""
    notify_failure(context("train"))
    assert (caplog.messages, PUSHED) == ([], [])
    notify_killed(ended(monkeypatch, train=False))
    (line,) = caplog.messages
    assert line.startswith("ctr_daily, 2023-07-14: train failed: No reason is known: its process was killed")
    assert "http://airflow.example/dags/ctr_daily/runs/r1/tasks/train" in line


def test_a_task_that_has_told_of_itself_says_so_to_its_run(home, caplog):
    notify_failure(context("train", ValueError("x")))
    assert PUSHED == [(NOTIFIED, True)]


def test_a_killed_task_of_a_run_without_a_log_day_is_told_of_too(home, monkeypatch, caplog):
    known = ended(monkeypatch, rollback=False)
    notify_killed({name: known[name] for name in ("dag", "run_id")})
    assert caplog.messages[0].startswith("ctr_daily, no log day: rollback failed")
