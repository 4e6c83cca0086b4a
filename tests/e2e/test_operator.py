"""An operator's bad day, in a real browser: a corrected log, a late file, a backfill that is killed, cancelled, started again.

Meanwhile the schedule's own run of yesterday waits for its log, and three clients poll. Takes a quarter of an hour.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import httpx
import pandas as pd
import psutil
import pytest
from e2e_days import ctr_json
from environment import environment
from playwright.sync_api import Page, expect, sync_playwright
from waiting import wait_for

from include.airflow_control import airflow_environment, airflow_local
from include.airflow_control.airflow_client import DAG_ID, AirflowClient
from include.airflow_control.demo import ctr
from include.days.backfill_plan import plan
from include.lake.lake import get_lake
from include.raw.deliveries import Raw, day_folder
from include.records import Decision, Train
from include.registry import registry
from include.registry.outdated import outdated_champion
from include.settings import get_settings

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(5400),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: tools/setup.sh --tests installs it."),
]
HISTORY = 8
ROWS = 1500
LATE_ROWS = 100
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
"""The day that the schedule runs as soon as the DAG is not paused."""
NIGHTS = [YESTERDAY - timedelta(days=n) for n in (3, 2, 1)]
FIRST = NIGHTS[0] - timedelta(days=HISTORY)
SETTINGS = {
    "CTR_MODEL": "ple",
    "CTR_BOOTSTRAP_RESAMPLES": "200",
    "CTR_RAW_WAIT_SECONDS": "7200",
    "CTR_APPROVAL_SECONDS": "5",
}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory) -> Iterator[AirflowClient]:
    """Eight days of history and three nights with promoted models; yesterday's log has not come."""
    home = tmp_path_factory.mktemp("home")
    with environment({"CTR_HOME": str(home), **SETTINGS}):
        days = (YESTERDAY - FIRST).days + 1
        ctr("sample", "--from", str(FIRST), "--days", str(days), "--rows-per-day", str(ROWS))
        raw_folder(YESTERDAY).rename(home / "held")
        ctr("history", "--from", str(FIRST), "--to", str(NIGHTS[0] - timedelta(days=1)))
        with airflow_local.running() as client:
            ctr_json("backfill", "--from", str(NIGHTS[0]), "--to", str(NIGHTS[-1]), "--promote", "yes")
            last = get_lake().record(Train, NIGHTS[-1]).version
            if registry.champion().version != last:  # so few rows do not always prove enough
                ctr("promote", str(last))
            yield client


def raw_folder(day: date) -> Path:
    return Path(Raw().full(day_folder(day)))


def raw_rows(day: date) -> pd.DataFrame:
    files = sorted(raw_folder(day).glob("*.csv*"))
    return pd.concat([pd.read_csv(file, dtype=str, keep_default_na=False) for file in files], ignore_index=True)


def correct_labels(day: date) -> None:
    """Delivers the day again with as many clicks, of other rows."""
    rows = raw_rows(day)
    rows["label"] = rows["label"].sample(frac=1, random_state=1).to_numpy()
    for file in raw_folder(day).glob("*.csv*"):
        file.unlink()
    rows.to_csv(raw_folder(day) / "part-corrected.csv", index=False)


def deliver_late(day: date) -> None:
    """Deliver another file of the day, with rows that it does not have."""
    rows = raw_rows(day).head(LATE_ROWS)
    rows.assign(user_id="late-" + rows["user_id"]).to_csv(raw_folder(day) / "part-late.csv", index=False)


@contextmanager
def polled(airflow: AirflowClient) -> Iterator[list[str]]:
    """Three clients that ask for the DAG, its runs and the page of days; yields what they were refused."""
    stop, refused = Event(), list[str]()

    def poll(path: str) -> None:
        with httpx.Client(base_url=airflow.url, headers=dict(airflow._http.headers), timeout=60) as client:
            while not stop.wait(1):
                with suppress(httpx.TransportError):  # while the api-server is restarted
                    answer = client.get(path)
                    if answer.is_error:
                        refused.append(f"{path}: {answer.status_code} {answer.text[:200]}")

    paths = (f"/api/v2/dags/{DAG_ID}", f"/api/v2/dags/{DAG_ID}/dagRuns", "/ctr/api/days")
    threads = [Thread(target=poll, args=[path]) for path in paths]
    for thread in threads:
        thread.start()
    try:
        yield refused
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def schedulers() -> list[psutil.Process]:
    """The schedulers below this process, without the workers that they have forked."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "airflow scheduler" in " ".join(process.cmdline()) and process.parent() == psutil.Process():
                found.append(process)
    return found


@pytest.fixture
def page(airflow) -> Iterator[Page]:
    """Airflow's page of the DAG, for somebody who has logged in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        new_page = browser.new_page(base_url=airflow.url, viewport={"width": 1440, "height": 1400}, timezone_id="UTC")
        new_page.goto("/")
        new_page.locator("input[name=username]").fill("admin")
        new_page.locator("input[name=password]").fill(airflow_environment.password())
        new_page.keyboard.press("Enter")
        new_page.wait_for_url(lambda url: "login" not in url)
        new_page.goto(f"/dags/{DAG_ID}")
        yield new_page
        browser.close()


def ask_for_backfill(page: Page, first: date, last: date) -> None:
    """Fills in Airflow's own form as docs/operations.md says, and sends it."""
    page.get_by_role("button", name="Trigger Dag").click()
    page.get_by_text("Run this Dag for a range of dates").click()
    for field, day in zip(page.get_by_test_id("datetime-input").all(), (first, last), strict=True):
        field.click()
        text = page.get_by_placeholder("YYYY/MM/DD").locator("visible=true")
        text.fill(f"{day:%Y/%m/%d}")
        text.press("Enter")
        page.keyboard.press("Escape")
    page.get_by_text("All Runs", exact=True).click()
    page.get_by_text("Override parameters on existing runs").click()
    expect(page.get_by_text(f"{(last - first).days + 1} runs will be triggered.")).to_be_visible(timeout=30_000)
    page.get_by_role("button", name="Run Backfill").click()
    expect(page.get_by_text("Backfill generated")).to_be_visible(timeout=60_000)


def state_of(airflow: AirflowClient, day: date) -> str:
    run = airflow.runs_of_days(day, day).get(day)
    return run.state if run else "none"


def test_an_operators_bad_day_ends_with_current_days_and_model(airflow, page):
    before = registry.champion()
    assert before.log_day == NIGHTS[-1]
    correct_labels(NIGHTS[0])
    deliver_late(NIGHTS[1])
    with polled(airflow) as refused:
        ask_for_backfill(page, NIGHTS[0], NIGHTS[-1])
        wait_for(lambda: state_of(airflow, NIGHTS[0]) == "running", 1800, f"the run of {NIGHTS[0]}")
        assert state_of(airflow, YESTERDAY) == "running", "the schedule's night waits for its log meanwhile"
        (scheduler,) = schedulers()
        os.kill(scheduler.pid, signal.SIGKILL)
        wait_for(
            lambda: [process.pid for process in schedulers()] not in ([], [scheduler.pid]), 1800, "another scheduler"
        )
        wait_for(lambda: state_of(airflow, NIGHTS[1]) == "running", 1800, f"the run of {NIGHTS[1]}")
        page.get_by_role("button", name="Cancel backfill").click()
        wait_for(lambda: airflow.open_backfills() == [], 60, "the backfill was not cancelled")
        wait_for(lambda: state_of(airflow, NIGHTS[1]) != "running", 1800, f"the end of the run of {NIGHTS[1]}")
        cancelled = airflow.runs_of_days(NIGHTS[-1], NIGHTS[-1])[NIGHTS[-1]]
        airflow.call("POST", f"/dags/{DAG_ID}/dagRuns/{cancelled.run_id}/clear", json={"dry_run": False})
        states = {row["day"]: row["state"]["state"] for row in ctr_json("status")}
        assert states[str(NIGHTS[-1])] == "queued behind a cancelled backfill"
        assert states[str(YESTERDAY)] == "waiting for its log"
        report = ctr_json("backfill", "--from", str(NIGHTS[0]), "--to", str(NIGHTS[-1]))
    assert refused == []
    assert len(schedulers()) == 1
    assert [row["run"] for row in report["days"]] == ["success"] * 3
    assert report["stale"] == []
    assert plan(get_lake()) == []
    for day, rows in ((NIGHTS[0], ROWS), (NIGHTS[1], ROWS + LATE_ROWS), (NIGHTS[2], ROWS)):
        tables = get_lake().manifest("logs", day).tables
        assert tables["logs"].rows + tables["quarantine"].rows == len(raw_rows(day)) == rows
        assert get_lake().manifest("training", day).tables["training"].rows == tables["logs"].rows
    assert registry.champion().version == before.version
    version, replaced = outdated_champion(get_lake())
    assert (version.version, set(replaced)) == (before.version, {*NIGHTS[:-1]})

    (get_settings().home / "held").rename(raw_folder(YESTERDAY))
    wait_for(lambda: state_of(airflow, YESTERDAY) in ("success", "failed"), 1800, "the schedule's night")
    champion = registry.champion()
    assert champion.log_day == YESTERDAY, get_lake().record(Decision, YESTERDAY).reasons
    assert outdated_champion(get_lake()) is None
    assert champion.base_version != before.version
    ctr("reproduce", str(champion.version))
