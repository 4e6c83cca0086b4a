"""The plugin: three pages in Airflow's navigation, and the data quality of a run on the run's own page."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from include.links import MOUNT, PAGES, RUN_PAGE, airflow_path


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI app of the pages, imported by the first request: every task's process loads the plugins, and needs no pages."""
    from plugins.pages.app import app

    await app(scope, receive, send)


_APPS = [{"app": pages, "url_prefix": MOUNT, "name": "ctr pages"}]
_OF_A_RUN = {
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
    _OF_A_RUN,
]


class CtrPlugin(AirflowPlugin):
    """Mounts the pages and tells Airflow's UI where they are."""

    name = "ctr"
    fastapi_apps = _APPS
    external_views = _VIEWS
