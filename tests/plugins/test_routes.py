"""The pages over HTTP: nobody anonymous, nothing but reading, everything escaped, no path from a request."""

import re
from datetime import date
from html.parser import HTMLParser

import pytest
from airflow.api_fastapi.core_api.security import requires_access_view
from fastapi.testclient import TestClient
from page_records import HOSTILE, check
from starlette.routing import Route

from include.settings import get_settings
from plugins.pages import app as pages

DAY = date(2023, 7, 10)
ROUTES = [route for route in pages.app.routes if isinstance(route, Route)]
QUERIES = {
    "/quality/check": f"?day={DAY}&check=000000000000",
    "/quality/docs": f"?day={DAY}&stage=logs",
    "/quality/run": "?dag_id=ctr_daily&run_id=r",
}


def address(path):
    plain = path.removeprefix("/api")
    return path.replace("{name}", "page.css") + QUERIES.get(plain, f"?day={DAY}")


def test_the_app_has_no_other_kind_of_route():
    assert len(ROUTES) == len(pages.app.routes) >= 18


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_route_refuses_an_anonymous_request(route):
    with TestClient(pages.app, raise_server_exceptions=False) as anonymous:
        for accept in ("text/html", "application/json"):
            response = anonymous.get(address(route.path), headers={"Accept": accept})
            assert response.status_code == 401, response.text
            assert "not logged in" in response.text


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_every_route_needs_airflows_permissions_and_only_reads(route):
    dependencies = [dependency.call for dependency in route.dependant.dependencies]
    assert all(lock.dependency in dependencies for lock in pages.LOCKED)
    assert {lock.dependency.__qualname__.split(".")[0] for lock in pages.LOCKED} == {
        requires_access_view.__name__,
        "requires_access_dag",
    }
    assert route.methods <= {"GET", "HEAD"}


@pytest.mark.parametrize("path", ["/quality", "/models", "/days"])
def test_pages_of_an_empty_lake_say_what_fills_them(client, path):
    response = client.get(path)
    assert response.status_code == 200, response.text
    assert 'class="missing"' in response.text


def test_every_answer_forbids_foreign_scripts_styles_and_frames(client):
    for path in ("/quality", "/api/quality", "/quality/day?day=2000-01-01", "/static/page.js", "/nothing"):
        policy = client.get(path).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'self'" in policy


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_data_wherever_it_stands(client, write, text):
    sample = [{"item_title": text, text: text}]
    hostile = check(text, False, table=text, column=text, expected=text, observed=text, failing_rows=1, sample=sample)
    write("logs", DAY, hostile)
    found = client.get(f"/api/quality/day?day={DAY}").json()["findings"][0]
    assert (found["table"], found["sample"][0]["item_title"]) == (text, text)
    for path, query in (
        ("/quality", {}),
        ("/quality", {"table": text}),
        ("/quality/day", {"day": DAY}),
        ("/quality/check", {"day": DAY, "check": found["id"]}),
    ):
        response = client.get(path, params=query)
        assert response.status_code == 200, response.text
        assert_harmless(response.text)


class Tags(HTMLParser):
    """The tags of a page with their attributes, as a browser reads them."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def assert_harmless(page):
    """A page has no tag and no attribute that the templates do not write."""
    tags = Tags()
    tags.feed(page)
    scripts = [attributes for tag, attributes in tags.found if tag == "script"]
    assert scripts == [{"src": "/static/page.js", "defer": None}]
    for tag, attributes in tags.found:
        assert tag not in ("img", "iframe", "object", "embed", "u", "style", "base")
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")]
        assert (attributes.get("href") or "/").startswith(("/", "#"))


def test_empty_fields_of_the_form_filter_nothing(client, write):
    write("logs", DAY, check())
    empty = dict.fromkeys(("until", "stage", "table", "severity", "status"), "")
    assert client.get("/api/quality", params=empty).json()["days"] == [str(DAY)]
    assert client.get("/api/days", params={"until": ""}).status_code == 200


def test_errors_are_reported_in_a_page_and_as_json(client):
    page = client.get("/quality/day?day=2000-01-01")
    assert page.status_code == 404
    assert "There is no data of 2000-01-01" in page.text
    response = client.get("/api/quality/day?day=2000-01-01")
    assert (response.status_code, "There is no data" in response.json()["detail"]) == (404, True)
    wrong = client.get("/quality/day?day=<script>")
    assert wrong.status_code == 422
    assert "<script>" not in wrong.text.replace('<script src="/static/page.js" defer></script>', "")
    missing = client.get("/no/page")
    assert (missing.status_code, "This page is not available" in missing.text) == (404, True)


def test_an_unexpected_error_is_reported_without_its_message(client, monkeypatch):
    def fails(*_):
        raise RuntimeError("secret message")

    monkeypatch.setattr(pages.models, "models_of", fails)
    response = client.get("/models")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "api-server" in response.text
    assert response.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "query",
    [
        "day=../../etc/passwd&stage=logs",
        "day=2023-07-10&stage=../logs",
        "day=2023-07-10%2F..%2F..&stage=logs",
        "day=2023-07-10&stage=logs%00",
        "day=2023-07-10&stage=records",
    ],
)
def test_documents_are_named_only_by_day_and_stage(client, query):
    assert client.get(f"/quality/docs?{query}").status_code == 422


def test_static_files_are_those_that_the_server_has_read(client):
    for name in pages.STATIC:
        assert client.get(f"/static/{name}").status_code == 200
    for name in ("../app.py", "..%2Fapp.py", "%2e%2e/app.py", "page.css/../../app.py", "app.py"):
        assert client.get(f"/static/{name}").status_code == 404


def test_documents_run_nothing(client, lake):
    lake.write_bytes(f"_docs/logs/dt={DAY}.html", b"<h1>Data Docs</h1>")
    lake.write_bytes(f"_reports/dt={DAY}.html", b"<h1>Report</h1>")
    for path, text in ((f"/quality/docs?stage=logs&day={DAY}", "Data Docs"), (f"/models/report?day={DAY}", "Report")):
        response = client.get(path)
        assert text in response.text
        policy = response.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none'")
        assert "script" not in policy
    assert client.get("/models/report?day=2000-01-01").status_code == 404


def test_the_version_changes_with_a_record_and_with_a_run(client, write, run):
    def version():
        return client.get("/api/version").json()["version"]

    empty = version()
    write("logs", DAY, check())
    first = version()
    assert empty != first == version()
    write("logs", DAY, check(ok=False))
    second = version()
    run(DAY)
    assert len({empty, first, second, version()}) == 4


def test_each_page_names_the_json_behind_it(client, write):
    write("logs", DAY, check(ok=False))
    described = client.get("/openapi.json").json()
    paths = described["paths"]
    assert described["servers"] == [{"url": ""}]
    assert set(paths) == {route.path for route in ROUTES if route.path.startswith("/api/")}
    for path in ("/quality?days=7&stage=logs", f"/quality/day?day={DAY}", "/models", "/days"):
        link = re.search(r'type="application/json" href="([^"]*)"', client.get(path).text)[1].replace("&amp;", "&")
        assert link.split("?")[0] in paths
        assert client.get(link).status_code == 200


def test_a_passing_grid_is_reached_by_keyboard(client, write):
    for number in (10, 11):
        write("logs", date(2023, 7, number), check())
    tags = Tags()
    tags.feed(client.get("/quality?every=true").text)
    cells = [attributes for tag, attributes in tags.found if tag == "a" and "cell" in attributes.get("class", "")]
    assert [attributes.get("tabindex") for attributes in cells] == [None, "-1", None, "-1"]


def test_unusable_settings_are_reported_without_their_values(client, monkeypatch):
    monkeypatch.setenv("CTR_SEED", "my secret")
    get_settings.cache_clear()
    response = client.get("/quality")
    get_settings.cache_clear()
    assert (response.status_code, "my secret" in response.text) == (503, False)


def test_a_runs_page_leads_to_its_day(client, run):
    dag_run = run(DAY)
    response = client.get(
        "/quality/run", params={"dag_id": "ctr_daily", "run_id": dag_run.run_id}, follow_redirects=False
    )
    assert (response.status_code, response.headers["location"]) == (303, f"/quality/day?day={DAY}")
    for dag, name in (("other", dag_run.run_id), ("ctr_daily", "none")):
        refused = client.get("/quality/run", params={"dag_id": dag, "run_id": name})
        assert (refused.status_code, "This page is for runs of ctr_daily" in refused.text) == (404, True)
