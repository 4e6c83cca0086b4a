"""Addresses of a day's pages in Airflow's UI: for links from tasks, from failure notices, and between the pages."""

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow.sdk.configuration import conf

if TYPE_CHECKING:
    from airflow.sdk import Context

MOUNT = "/ctr"
"""Where the plugin's app is mounted."""
RUN_PAGE = "/quality/run"


@dataclass(frozen=True)
class Page:
    """A page in Airflow's navigation: its path in the plugin's app, and the route under which the UI shows it.

    `icon` is drawn by the commands of an SVG path, in a box of 24 by 24.
    """

    title: str
    path: str
    route: str
    icon: str


PAGES = {
    "quality": Page(
        "Data quality",
        "/quality",
        "data-quality",
        "M12 3l7.5 3v5.5c0 4.6-3.1 8.2-7.5 9.5-4.4-1.3-7.5-4.9-7.5-9.5V6z M8.5 12l2.5 2.5 4.5-5",
    ),
    "models": Page("Models", "/models", "models", "M4 4v16h16 M7.5 15l4-4.5 3 2.5 5-7"),
    "days": Page(
        "Days",
        "/days",
        "days",
        "M6 5h12a2 2 0 0 1 2 2v11a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2V7a2 2 0 0 1 2-2z M4 10h16 M8.5 3v4 M15.5 3v4",
    ),
}


def airflow_path(path: str) -> str:
    """Return the path of a page of the plugin on Airflow's host, whatever path Airflow itself is served under."""
    return f"{_root()}{MOUNT}{path}"


def quality_page(day: date) -> str:
    """Return the path, inside Airflow's UI, of what failed on a day."""
    return _embedded_path("quality", f"{MOUNT}/quality/day", day)


def model_page(day: date) -> str:
    """Return the path, inside Airflow's UI, of the model that a day's run trained, with its verdict."""
    return _embedded_path("models", f"{MOUNT}/models/day", day)


def absolute(path: str) -> str:
    """Return the URL of a path on Airflow's host, for readers who are not in Airflow."""
    parts = urlsplit(_base())
    return f"{parts.scheme}://{parts.netloc}{path}"


def task_log(context: "Context") -> str:
    """Return the URL of the log of the task instance that a context belongs to."""
    return str(context["ti"].log_url)


def task_log_of(dag_id: str, run_id: str, task_id: str) -> str:
    """Return the URL of the log of a task in a run, newest try."""
    return absolute(_root() + task_page(dag_id, run_id, task_id))


def run_page(dag_id: str, run_id: str) -> str:
    """Return the path of a run in Airflow's UI, below Airflow's own root."""
    return f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def task_page(dag_id: str, run_id: str, task_id: str) -> str:
    """Return the path of a task's log in Airflow's UI, below Airflow's own root."""
    return f"{run_page(dag_id, run_id)}/tasks/{quote(task_id, safe='')}"


def _embedded_path(page: str, path: str, day: date) -> str:
    # The UI shows, in the page's frame, the path that follows its route.
    return f"{_root()}/plugin/{PAGES[page].route}{_root()}{path}?day={day}"


def _root() -> str:
    return urlsplit(_base()).path.rstrip("/")


def _base() -> str:
    return str(conf.get("api", "base_url", fallback="http://localhost:8080"))
