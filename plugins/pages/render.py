"""Pages from templates: everything that a template prints is escaped, and nothing is styled or scripted in the page itself."""

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BaseModel

from include.calendar import previous
from include.links import MOUNT, PAGES
from plugins.pages import chart
from plugins.pages.models import FIGURES


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fixed": _fixed, "count": _count, "moment": _moment, "took": _took, "heat": _heat}
    environment.globals |= {"chart": chart.chart, "box": chart, "PAGES": PAGES, "FIGURES": FIGURES, "before": previous}
    return environment


def page(request: Request, template: str, found: BaseModel, status: int = 200) -> Response:
    """A template filled with what its JSON route answers; `airflow` is Airflow's own root, `root` the app's."""
    root = request.scope["root_path"]
    place = {"root": root, "airflow": root.removesuffix(MOUNT), "path": request.url.path.removeprefix(root)}
    text = _environment().get_template(template).render(found=found, query=request.url.query, **place)
    return HTMLResponse(text, status_code=status)


async def etag(request: Request, answer: Any) -> Response:
    """The answer with a tag of its content if it is JSON; status 304 where the browser has this content already."""
    if answer.status_code != 200 or not answer.headers.get("content-type", "").startswith("application/json"):
        return answer
    body = b"".join([part async for part in answer.body_iterator])
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {name: value for name, value in answer.headers.items() if name != "content-length"} | {"ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers)


def _fixed(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _heat(auc: float) -> int:
    """A step from 0 (AUC 0.5) to 10 (0.9 and more)."""
    return round(10 * min(1.0, max(0.0, (auc - 0.5) / 0.4)))


def _moment(value: datetime | str | None) -> str:
    """UTC to the minute."""
    if value is None:
        return "–"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment:%Y-%m-%d %H:%M}"


def _took(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    whole = round(seconds)
    return (
        f"{seconds:.1f} s" if seconds < 10 else f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02d} s"
    )
