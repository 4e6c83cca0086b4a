"""The pages in a real browser, in a real Airflow, of a night that really failed; screenshots go to `test-artifacts/`."""

import contextlib
import re
import shutil

import httpx
import psutil
import pytest
from e2e_days import BAD, GOOD, HOSTILE, run_of
from playwright.sync_api import expect, sync_playwright
from starlette.routing import Route

from include.setting_groups import PROJECT
from plugins.pages.app import app

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = PROJECT / "test-artifacts"
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: tools/setup.sh --tests installs it."),
]
expect.set_options(timeout=30_000)  # a page that is slow on a busy machine is no fault
FULL = {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def logged_in(browser, airflow_server):
    """Cookies and storage of somebody who has logged in with the form."""
    context = browser.new_context(viewport=FULL, base_url=airflow_server.client.url)
    new_page = context.new_page()
    new_page.goto("/")
    new_page.locator("input[name=username]").fill("admin")
    new_page.locator("input[name=password]").fill(airflow_server.environment["CTR_AIRFLOW_PASSWORD"])
    new_page.keyboard.press("Enter")
    new_page.wait_for_url(lambda url: "login" not in url)
    expect(new_page.get_by_role("link", name="Data quality")).to_be_visible()
    yield context.storage_state()
    context.close()


@pytest.fixture
def page(browser, airflow, logged_in):
    """A page of somebody who is logged in; `faults` are what the pages complained of."""
    context = browser.new_context(viewport=FULL, base_url=airflow.url, storage_state=logged_in)
    new_page = context.new_page()
    new_page.faults = []
    new_page.on("pageerror", lambda error: new_page.faults.append(str(error)))
    new_page.on("dialog", lambda dialog: (new_page.faults.append(dialog.message), dialog.dismiss()))
    new_page.on(
        "console",
        lambda message: new_page.faults.append(message.text) if "Content Security Policy" in message.text else None,
    )
    yield new_page
    context.close()


@pytest.fixture
def bad_run(airflow):
    return run_of(airflow, BAD)


def frame(page):
    return page.frame_locator("iframe")


def shot(page, name):
    SCREENSHOTS.mkdir(exist_ok=True)
    page.wait_for_timeout(400)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_two_clicks_lead_from_a_red_run_to_the_rows_and_reason(page, bad_run):
    page.goto("/dags/ctr_daily")
    page.locator(f"a[href*='{bad_run.split('T')[0]}']").first.click()
    page.locator("a[href$='/plugin/run-quality']").click()
    inside = frame(page)
    expect(inside.locator("h1")).to_contain_text(f"{BAD} stopped at its logs")
    expect(inside.get_by_text("at most 2.00% of raw rows rejected")).to_be_visible()
    rows = inside.locator("table.rows tbody tr")
    expect(rows.first).to_contain_text("part-")
    assert rows.count() >= 5
    shot(page, "run-data-quality")
    assert page.faults == []


def test_the_failed_task_links_to_its_day(page, bad_run, airflow):
    links = airflow.call("GET", f"/dags/ctr_daily/dagRuns/{bad_run}/taskInstances/check_logs/links")["extra_links"]
    page.goto(links["Data quality"])
    expect(frame(page).locator("h1")).to_contain_text(f"{BAD} stopped at its logs")
    good = run_of(airflow, GOOD)
    for task in ("gate", "train"):
        links = airflow.call("GET", f"/dags/ctr_daily/dagRuns/{good}/taskInstances/{task}/links")["extra_links"]
        page.goto(links["Model"])
        expect(frame(page).locator("h1")).to_contain_text(f"Version 1 of {GOOD}")
    expect(frame(page).locator(".map")).to_have_count(5)
    shot(page, "model")


def test_the_grid_is_filtered_walked_with_keys_and_drilled_into(page, airflow):
    page.goto("/plugin/data-quality")
    inside = frame(page)
    expect(inside.locator("a.cell.fail").first).to_be_visible()
    shot(page, "data-quality")
    inside.get_by_label("Status").select_option("fail")
    inside.get_by_label("Stage").select_option("logs")
    inside.get_by_role("button", name="Show").click()
    page.wait_for_url(re.compile("stage=logs.*status=fail"))
    names = inside.locator("tbody tr:not(.stage) th")
    expect(names.filter(has_text="raw rows rejected")).to_be_visible()
    first = inside.locator("tbody tr:not(.stage) a.cell").first
    first.focus()
    page.keyboard.press("ArrowRight")
    expect(inside.locator("a.cell:focus")).to_have_attribute("aria-label", re.compile(f"{GOOD}: pass"))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(inside.locator("dt", has_text="Failing since")).to_be_visible()
    expect(inside.locator("svg.chart .dot")).not_to_have_count(0)
    expect(inside.get_by_text(f"ctr backfill --from {BAD} --to {BAD}")).to_be_visible()
    shot(page, "check")
    assert page.faults == []


def test_a_link_to_a_task_leaves_the_frame_for_its_log(page):
    page.goto(f"/plugin/data-quality/ctr/quality/day?day={BAD}")
    frame(page).get_by_role("link", name="check_logs", exact=True).click()
    page.wait_for_url(re.compile("/dags/ctr_daily/runs/.*/tasks/check_logs"))
    expect(page.get_by_text("nothing was published").first).to_be_visible(timeout=20_000)


def test_data_docs_and_reports_open_inside(page):
    page.goto(f"/plugin/data-quality/ctr/quality/day?day={BAD}")
    frame(page).get_by_role("link", name="Data Docs").first.click()
    expect(frame(page).locator("body")).to_contain_text(f"Great Expectations: logs of {BAD}")
    shot(page, "data-docs")
    page.goto("/plugin/models")
    frame(page).get_by_role("link", name="Report").first.click()
    expect(frame(page).locator("strong").first).to_contain_text("Promote")


def test_days_and_models_in_the_dark_theme(page):
    page.goto("/")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    for name, path in (("days", "/plugin/days"), ("models", "/plugin/models")):
        page.goto(path)
        expect(frame(page).locator("table").first).to_be_visible()
        color = frame(page).locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", color)[:3])) < 120, color
        shot(page, f"{name}-dark")
    assert page.faults == []


def test_hostile_rows_of_the_log_are_shown_and_run_nothing(page):
    page.goto(f"/plugin/data-quality/ctr/quality/quarantine?day={BAD}&reason=missing_user_id")
    inside = frame(page)
    expect(inside.locator("h1")).to_contain_text(f"{len(HOSTILE)} raw rows")
    for summary in inside.locator("summary").all():
        summary.click()
    expect(inside.locator("table.rows")).to_contain_text("window.hacked = 1")
    page.goto(f"/plugin/data-quality/ctr/quality/docs?day={BAD}&stage=logs")
    expect(frame(page).locator("body")).to_contain_text(f"Great Expectations: logs of {BAD}")
    for inner in page.frames:
        inner.wait_for_load_state("networkidle")
    assert [inner.evaluate("window.hacked") for inner in page.frames] == [None, None]
    assert page.faults == []


ROUTES = [route.path.replace("{name}", "page.css") for route in app.routes if isinstance(route, Route)]


@pytest.mark.parametrize("path", ROUTES)
def test_the_server_refuses_a_stranger(airflow, path):
    for headers in ({}, {"Authorization": "Bearer x.y.z"}):
        response = httpx.get(f"{airflow.url}/ctr{path}", headers=headers, params={"day": str(BAD)}, trust_env=False)
        assert response.status_code in ((401,) if not headers else (401, 403)), response.text
        assert "hacked" not in response.text


@pytest.mark.usefixtures("airflow")
def test_airflow_listens_on_loopback_only():
    listening = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # a task may end meanwhile; PostgreSQL may be another user's
            listening |= {
                connection.laddr.ip.removeprefix("::ffff:")  # a JVM's, for IPv4
                for connection in child.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
    assert listening == {"127.0.0.1"}


def test_a_refused_page_tells_how_to_log_in(browser, airflow):
    context = browser.new_context(base_url=airflow.url)
    stranger = context.new_page()
    stranger.goto(f"/ctr/quality/day?day={BAD}")
    expect(stranger.get_by_role("alert")).to_contain_text("You are not logged in")
    context.close()
