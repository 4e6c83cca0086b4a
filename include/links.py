"""Where a day's pages are in Airflow's UI: for links from tasks, from failure notices, and between the pages."""

from dataclasses import dataclass
from datetime import date
from urllib.parse import quote, urlencode, urlsplit

from airflow.configuration import conf

from include.schemas import Checked

MOUNT = "/ctr"
"""Where the plugin's app is mounted."""
RUN_PAGE = "/quality/run"


@dataclass(frozen=True)
class Page:
    """A page in Airflow's navigation: its path in the plugin's app, and the route under which the UI shows it."""

    title: str
    path: str
    route: str


PAGES = {
    "quality": Page("Data quality", "/quality", "data-quality"),
    "models": Page("Models", "/models", "models"),
    "days": Page("Days", "/days", "days"),
}


def airflow_path(path: str) -> str:
    """Path of a page of the plugin on Airflow's host, whatever path Airflow itself is served under."""
    return f"{_root()}{MOUNT}{path}"


def quality_page(day: date, stage: Checked | None = None) -> str:
    """URL, inside Airflow's UI, of what failed on a day."""
    return _shown("quality", f"{MOUNT}/quality/day", day=str(day), **({"stage": stage} if stage else {}))


def model_page(day: date) -> str:
    """URL, inside Airflow's UI, of the model that a day's run trained, with its verdict."""
    return _shown("models", f"{MOUNT}/models/day", day=str(day))


def run_page(dag_id: str, run_id: str) -> str:
    """Path of a run in Airflow's UI, below Airflow's own root."""
    return f"/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"


def task_page(dag_id: str, run_id: str, task_id: str) -> str:
    """Path of a task's log in Airflow's UI, below Airflow's own root."""
    return f"{run_page(dag_id, run_id)}/tasks/{quote(task_id, safe='')}"


def _shown(page: str, path: str, **query: str) -> str:
    # The UI keeps a page's own path behind the route: it shows that path in the page's frame.
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return f"{base}/plugin/{PAGES[page].route}{_root()}{path}?{urlencode(query)}"


def _root() -> str:
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
