"""Addresses of pages in Airflow's UI, for notices."""

from datetime import date
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.schemas import Stage


def quality_page(day: date, stage: "Stage | None" = None) -> str:
    """The failed checks of a log day, of one stage or of all."""
    base = conf.get("api", "base_url", fallback="http://localhost:8080").rstrip("/")
    query = {"day": str(day), "status": "fail"} | ({"stage": stage} if stage else {})
    return f"{base}/ctr/quality?{urlencode(query)}"


def task_log(context: "Context") -> str:
    """The log of the task instance that the context belongs to."""
    return str(context["ti"].log_url)
