"""The plugin: three pages in Airflow's navigation, the data quality of a run on the run's page, one backfill at a time."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from include.orchestration.links import MOUNT, PAGES, RUN_PAGE, airflow_path
from plugins.backfills import BackfillsInTurn


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """Serve the pages; the first request imports their app, as every task's process loads the plugins but needs no pages."""
    from plugins.pages.app import app

    await app(scope, receive, send)


_APPS = [{"app": pages, "url_prefix": MOUNT, "name": "ctr pages"}]
_RUN_VIEW = {
    "name": "Data quality",
    "href": f"{airflow_path(RUN_PAGE)}?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
    "destination": "dag_run",
    "url_route": "run-quality",
}
_VIEWS = [
    *(
        {
            "name": page.title,
            "href": airflow_path(page.path),
            "destination": "nav",
            "nav_top_level": True,
            "url_route": page.route,
            "icon": airflow_path(f"/static/{page.route}.svg"),
        }
        for page in PAGES.values()
    ),
    _RUN_VIEW,
]


class CtrPlugin(AirflowPlugin):
    """Mounts the pages, adds them to Airflow's navigation, and serialises backfills."""

    name = "ctr"
    fastapi_apps = _APPS
    fastapi_root_middlewares = [{"middleware": BackfillsInTurn, "name": "backfills in turn"}]  # noqa: RUF012, Airflow's own form
    external_views = _VIEWS
