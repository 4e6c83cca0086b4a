"""Whole nights, run once for all tests of this folder, in a home and with a webhook of their own."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from e2e_days import BAD, FIRST, GOOD, HISTORY, ROWS, add_hostile_rows
from environment import environment

from include import demo


@pytest.fixture(scope="session")
def _nights(tmp_path_factory, receiver):
    webhook = receiver()
    variables = {"CTR_HOME": str(tmp_path_factory.mktemp("home")), "CTR_NOTICE_WEBHOOK": webhook.url}
    with environment(variables):
        demo.use_small_log_settings({"CTR_LLM_MAX_TEXTS": "40"})
        demo.ctr("sample", "--from", str(FIRST), "--days", "4", "--rows-per-day", ROWS)
        demo.ctr("sample", "--from", str(BAD), "--days", "1", "--rows-per-day", ROWS, "--bad-day")
        add_hostile_rows(BAD)
        demo.load_history([FIRST + timedelta(days=n) for n in range(HISTORY)])
        outcomes = demo.nightly([GOOD, BAD])
    notices = list(webhook.bodies)
    return SimpleNamespace(good=outcomes[GOOD], bad=outcomes[BAD], notices=notices, environment=variables)


@pytest.fixture(scope="module")
def nights(_nights):
    """Three days of history, then a good night and a bad night through Airflow; the settings are theirs meanwhile."""
    with environment(_nights.environment):
        yield _nights
