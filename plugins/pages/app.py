"""The app that the plugin mounts: pages, the JSON behind each, Data Docs and reports. Every route requires Airflow's login.

All routes only read. Pages give actions as commands, or link to Airflow's own pages, which check their own permissions.
"""

import logging
import mimetypes
from collections.abc import Awaitable, Callable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import AccessView, requires_access_dag, requires_access_view
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel, BeforeValidator
from starlette.exceptions import HTTPException

from include.calendar import days_between
from include.days.runs import DAG_ID, Run
from include.errors import CtrError, MissingDataError, SettingError, UnavailableError
from include.lake.fail_fast import fail_fast
from include.lake.lake import docs_path, get_lake, report_path
from include.lake.lenient_lake import get_lenient_lake
from include.orchestration.links import PAGES, RUN_PAGE
from include.stages import Checked
from plugins.pages import days, findings, models, quality, runs
from plugins.pages.planner import Planner
from plugins.pages.records import QualityRecords
from plugins.pages.render import page
from plugins.pages.version import version_of

log = logging.getLogger(__name__)

LOCKED = [
    Depends(requires_access_view(AccessView.PLUGINS)),
    # The pages show rows of the log and output of tasks.
    Depends(requires_access_dag("GET", DagAccessEntity.TASK_LOGS, DAG_ID)),
]
CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
DOCUMENT_CSP = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
"""For reports and Data Docs: pages made elsewhere, which run nothing and load nothing."""
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#7f9cc4" stroke-width="1.8" '
    'stroke-linecap="round" stroke-linejoin="round"><path d="{}"/></svg>'
)
STATIC = {
    **{path.name: path.read_bytes() for path in (Path(__file__).parent / "static").iterdir()},
    **{f"{page.route}.svg": _ICON.format(page.icon).encode() for page in PAGES.values()},
}

Day = Annotated[date, Query(description="Log day, YYYY-MM-DD.")]
Number = Annotated[
    int | None, Query(alias="version", ge=1, description="A version trained by the day's run; by default the newest.")
]
Until = Annotated[
    date | None,
    BeforeValidator(lambda value: value or None),  # an empty field of the form
    Query(description="The newest day to show; by default the newest of all."),
]


@cache
def records() -> QualityRecords:
    """Return the quality records, one object a process."""
    return QualityRecords(get_lenient_lake())


@cache
def planner() -> Planner:
    """Return the planner of what to redo, one object a process."""
    return Planner(get_lenient_lake())


def filters(
    until: Until = None,
    number: Annotated[int, Query(alias="days", ge=1, le=quality.MOST_DAYS)] = 14,
    stage: Annotated[Checked | Literal[""], Query()] = "",
    table: Annotated[str, Query(max_length=100)] = "",
    severity: Annotated[Literal["critical", "warning", ""], Query()] = "",
    status: Annotated[Literal["pass", "warning", "fail", ""], Query()] = "",
    every: Annotated[bool, Query(description="Include checks that always passed.")] = False,
) -> quality.Filters:
    """Return the grid's filters; an empty field of the form filters nothing."""
    return quality.Filters(
        until=until,
        days=number,
        stage=stage or None,
        table=table or None,
        severity=severity or None,
        status=status or None,
        every=every,
    )


class Version(BaseModel):
    """A version of the data that the pages show."""

    version: str


api = APIRouter(prefix="/api", dependencies=LOCKED)
html = APIRouter(dependencies=LOCKED, include_in_schema=False, default_response_class=HTMLResponse)


# The JSON behind the pages


@api.get("/quality")
def quality_grid(chosen: Annotated[quality.Filters, Depends(filters)]) -> quality.Grid:
    """Return checks by day: pass, warning, fail, or null where a check did not run."""
    return quality.grid(records().history(), chosen)


@api.get("/quality/day")
def quality_day(day: Day, session: SessionDep) -> findings.DayQuality:
    """Return the failed checks of a day with sample rows, and what they block."""
    return findings.day_quality(get_lenient_lake(), records().history(), session, day, planner().plan().steps)


@api.get("/quality/check")
def quality_check(
    day: Day, check: Annotated[str, Query(pattern="^[0-9a-f]{12}$")], session: SessionDep
) -> findings.CheckOfDay:
    """Return one check of a day, with its trend."""
    return findings.check_of_day(get_lake(), records().history(), session, day, check)


@api.get("/quality/quarantine")
def quality_quarantine(day: Day, reason: Annotated[str, Query(max_length=100)] = "") -> findings.Quarantine:
    """Return rejected raw rows of a day."""
    return findings.quarantine(get_lake(), day, reason or None)


@api.get("/version")
def version(session: SessionDep) -> Version:
    """Return a version that changes with the data of the pages; costs a few listings."""
    return Version(version=version_of(get_lake(), session))


@api.get("/models")
def model_versions(
    number: Annotated[int, Query(alias="versions", ge=1, le=100_000)] = 20,
    span: Annotated[int, Query(alias="days", ge=1, le=quality.MOST_DAYS)] = 60,
) -> models.Models:
    """Return model versions, and the champion's figures over days."""
    return models.models_of(get_lenient_lake(), planner().plan(), number, span)


@api.get("/models/day")
def model_day(day: Day, version: Number = None) -> models.ModelOfDay:
    """Return the model that a day's run trained, and the gate's verdict."""
    return models.model_of_day(get_lake(), day, version)


@api.get("/days")
def lake_days(
    session: SessionDep, until: Until = None, number: Annotated[int, Query(alias="days", ge=1, le=100)] = 14
) -> days.Days:
    """Return the state and counts of each day, and what has to be redone."""
    return days.days_of(get_lenient_lake(), planner(), session, until, number)


@api.get("/runs")
def day_runs(
    session: SessionDep, first: Day, last: Annotated[date, Query(description="Log day, YYYY-MM-DD.")]
) -> dict[date, Run]:
    """Return the latest run of each log day from `first` to `last`, and of every other day with an unfinished run."""
    return runs.latest_runs(session, {*days_between(first, last), *runs.unfinished_days(session)})


@api.get("/runs/stuck")
def stuck_runs(session: SessionDep) -> dict[str, date]:
    """Return the queued runs of cancelled backfills, which Airflow never starts, by run id with their log day."""
    return runs.stuck_runs(session)


# The pages, each from the JSON of its route


def _page_of(template: str, view: Callable[..., BaseModel]) -> Callable[..., Response]:
    def render(request: Request, data: Annotated[BaseModel, Depends(view)]) -> Response:
        return page(request, template, data)

    return render


for path, template, view in (
    ("/quality", "quality.html.j2", quality_grid),
    ("/quality/day", "day.html.j2", quality_day),
    ("/quality/check", "check.html.j2", quality_check),
    ("/quality/quarantine", "quarantine.html.j2", quality_quarantine),
    ("/models", "models.html.j2", model_versions),
    ("/models/day", "model.html.j2", model_day),
    ("/days", "days.html.j2", lake_days),
):
    html.get(path)(_page_of(template, view))


@html.get(RUN_PAGE)
def quality_run_page(request: Request, dag_id: str, run_id: str, session: SessionDep) -> Response:
    """Redirect from a run's own page in Airflow to the data quality of its log day."""
    day = runs.day_of_run(session, dag_id, run_id)
    if day is None:
        raise MissingDataError(
            f"This page is for runs of {DAG_ID} with a log day; '{run_id}' of '{dag_id}' is not one of them."
        )
    return RedirectResponse(f"{request.scope['root_path']}/quality/day?day={day}", status_code=303)


# Documents of the lake: named by a day and a stage, never by a path


@html.get("/quality/docs")
def data_docs(day: Day, stage: Checked) -> Response:
    """Return Great Expectations' Data Docs of a stage's day."""
    return _document(docs_path(stage, day), f"Data Docs of {stage} of {day}")


@html.get("/models/report")
def report(day: Day, version: Number = None) -> Response:
    """Return the newest report of a day, or the one about a version."""
    return _document(report_path(day, version), f"a report of {day}" + (f" about version {version}" if version else ""))


def _document(path: str, description: str) -> Response:
    lake = get_lake()
    if not lake.exists(path):
        raise MissingDataError(f"There is no {description}: the task that writes it has not run.")
    return HTMLResponse(lake.fs.cat_file(lake.path(path)), headers={"Content-Security-Policy": DOCUMENT_CSP})


# Static files


@html.get("/static/{name}")
def static(name: str) -> Response:
    """Return style, script or icons, read when the server started."""
    if name not in STATIC:
        raise HTTPException(404, "File not found.")
    return Response(STATIC[name], media_type=mimetypes.guess_type(name)[0])


@html.get("/openapi.json")
def openapi(request: Request) -> Response:
    """Return the OpenAPI description of the JSON routes."""
    return JSONResponse(app.openapi() | {"servers": [{"url": request.scope["root_path"]}]})


app = FastAPI(
    title="CTR pages",
    description="The data of Airflow's pages Data quality, Models and Days as JSON. Log in as for Airflow's own API.",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
)
app.include_router(html)
app.include_router(api)


@app.middleware("http")
async def security_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Add security headers to every response; in this process a call to storage fails fast if storage does not answer."""
    fail_fast()
    return _secured(await call_next(request))


def _secured(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", CSP)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "private, no-store"
    return response


@app.exception_handler(UnavailableError)
@app.exception_handler(CtrError)
async def project_error(request: Request, error: CtrError | UnavailableError) -> Response:
    """Respond with the message of an error of the project, which names the next step."""
    if isinstance(error, SettingError):  # its message holds values of settings
        log.error("The settings of the web server are invalid: %s", error)
        return _refused(request, 503, "The settings of Airflow's web server are invalid. See its log.")
    return _refused(request, error.http_status, str(error))


@app.exception_handler(RequestValidationError)
async def invalid_query(request: Request, error: RequestValidationError) -> Response:
    """Respond to a query with invalid parameters."""
    faults = "; ".join(f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
    return _refused(request, 422, f"The address is invalid: {faults}.")


@app.exception_handler(HTTPException)
async def http_error(request: Request, error: HTTPException) -> Response:
    """Respond to a request that is not logged in, not permitted, or not found."""
    messages = {
        401: "You are not logged in, or your login has expired. Reload Airflow and log in.",
        403: f"Your role has no access to this page: it needs plugins and the task logs of {DAG_ID}.",
    }
    response = _refused(request, error.status_code, messages.get(error.status_code, str(error.detail)))
    response.headers.update(error.headers or {})
    return response


@app.exception_handler(Exception)
async def unexpected_error(request: Request, _error: Exception) -> Response:
    """Respond to any other error, with the reason in the server's log alone; no middleware runs around this handler."""
    return _secured(_refused(request, 500, "The page failed to render. See the log of Airflow's api-server."))


class Refusal(BaseModel):
    """Why a request was refused."""

    detail: str


def _refused(request: Request, status: int, reason: str) -> Response:
    path = request.url.path.removeprefix(request.scope["root_path"])
    wants_page = "text/html" in request.headers.get("accept", "") and not path.startswith("/api/")
    if wants_page:
        return page(request, "refused.html.j2", Refusal(detail=reason), status=status)
    return JSONResponse({"detail": reason}, status_code=status)
