"""FAB's configuration: Airflow's own except the key that signs logins, as workers have the default one, for task logs."""

import os

from airflow.config_templates.default_webserver_config import AUTH_TYPE, WTF_CSRF_ENABLED, WTF_CSRF_TIME_LIMIT

__all__ = ["AUTH_TYPE", "SECRET_KEY", "WTF_CSRF_ENABLED", "WTF_CSRF_TIME_LIMIT"]

SECRET_KEY = os.environ["FAB_SECRET_KEY"]
