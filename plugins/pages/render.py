"""Renders pages from templates: all printed values are escaped, and pages have no inline styles or scripts."""

from datetime import datetime
from functools import cache
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel

from include.calendar import previous
from include.days.day_states import State
from include.days.runs import REDONE_FROM
from include.orchestration.links import MOUNT, PAGES
from include.plural import counted
from include.schemas import LEVELS
from include.stages import CHECKED
from plugins.pages import chart
from plugins.pages.models import FIGURES

TONES = {
    State.WAITING: "warning",
    State.NO_LOG: "fail",
    State.NOT_RUN: "warning",
    State.QUEUED: "queued",
    State.STUCK: "fail",
    State.RUNNING: "running",
    State.HELD: "hold",
    State.REJECTED: "reject",
    State.FAILED: "fail",
    State.CANCELLED: "warning",
    State.OUTDATED: "warning",
    State.CURRENT: "pass",
    State.DAMAGED: "fail",
}
"""The style of each state's badge (page.css)."""


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fixed": _fixed,
        "count": _count,
        "counted": counted,
        "moment": _moment,
        "took": _duration,
        "heat": _heat,
        "commands": _commands,
    }
    environment.globals |= {
        "PAGES": PAGES,
        "FIGURES": FIGURES,
        "CHECKED": CHECKED,
        "LEVELS": LEVELS,
        "TONES": TONES,
        "REDONE_FROM": REDONE_FROM,
    }
    environment.globals |= {"chart": chart.chart, "chart_box": chart, "before": previous}
    return environment


def page(request: Request, template: str, data: BaseModel, status: int = 200) -> Response:
    """Return a page: a template with the data of its JSON route. It knows `airflow`, Airflow's root, and `root`, the app's."""
    root = request.scope["root_path"]
    paths = {"root": root, "airflow": root.removesuffix(MOUNT), "path": request.url.path.removeprefix(root)}
    text = _environment().get_template(template).render(data=data, query=request.url.query, **paths)
    return HTMLResponse(text, status_code=status)


def _fixed(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _commands(text: str) -> Markup:
    """Return a sentence as HTML, with the text between backticks as code."""
    parts = text.split("`")
    return Markup().join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def _heat(auc: float) -> int:
    """Return a colour step from 0 (AUC 0.5) to 10 (0.9 and more)."""
    return round(10 * min(1.0, max(0.0, (auc - 0.5) / 0.4)))


def _moment(value: datetime | str | None) -> str:
    """Return a UTC time to the minute."""
    if value is None:
        return "–"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment:%Y-%m-%d %H:%M}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    whole = round(seconds)
    return (
        f"{seconds:.1f} s" if seconds < 10 else f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"
    )
