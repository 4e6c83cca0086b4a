"""What Airflow finds in the plugins folder."""

import subprocess
import sys

from airflow.sdk._shared.plugins_manager import _load_plugins_from_plugin_directory

from include.orchestration.links import PAGES
from include.setting_groups import PROJECT


def test_the_folder_holds_one_plugin_that_loads_without_errors():
    folder = str(PROJECT / "plugins")
    found, errors = _load_plugins_from_plugin_directory(folder, load_examples=False, ignore_file_syntax="glob")
    assert ([plugin.name for plugin in found], errors) == (["ctr"], {})
    views = {view["url_route"]: view["destination"] for view in found[0].external_views}
    assert views == {page.route: "nav" for page in PAGES.values()} | {"run-quality": "dag_run"}


def test_a_task_that_loads_the_plugin_loads_no_page():
    code = "import sys, plugins.ctr_plugin; sys.exit(any(name.startswith('plugins.pages') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0
