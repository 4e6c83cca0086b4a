"""One Airflow, and whole nights in it: run once for all tests of this folder, in a home and with a webhook of their own.

What follows on the nights is a chain of fixtures, each of which begins where the one before has ended; tests come in the order
of the last one that they use, as Airflow and the registry move on with them.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from types import SimpleNamespace

import pytest
from e2e_days import (
    BAD,
    FIRST,
    GOOD,
    HISTORY,
    HOLD_REASON,
    ROLLBACK_REASON,
    ROWS,
    add_hostile_rows,
    answer,
    clear_from,
    ctr_json,
    remove_hostile_rows,
    tasks_killed,
    trigger,
)
from environment import environment
from waiting import wait_for

from include.airflow_control import airflow_environment, airflow_local, demo
from include.airflow_control.airflow_client import AirflowClient
from include.days.backfill_plan import plan
from include.lake.lake import get_lake
from include.records import Decision
from include.registry import registry

_CHAIN = ("repaired", "approved", "rolled_back", "killed")
_AT_ANY_AGE = ("--log-days", "100000", "--table-days", "100000", "--champion-days", "100000", "--disk", "1")
_SETTINGS = {"CTR_LLM_MAX_TEXTS": "8", "CTR_BOOTSTRAP_RESAMPLES": "100"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: max(
            (n for n, name in enumerate(_CHAIN, 1) if name in getattr(item, "fixturenames", ())), default=0
        )
    )


@pytest.fixture(scope="session")
def _webhook(receiver):
    return receiver()


@pytest.fixture(scope="session")
def airflow_server(tmp_path_factory, _webhook) -> Iterator[SimpleNamespace]:
    """A running Airflow, and the settings under which `ctr` commands use it; raw logs of all days lie there."""
    own = {
        "CTR_HOME": str(tmp_path_factory.mktemp("home")),
        "CTR_NOTICE_WEBHOOK": _webhook.url,
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "false",  # else a run of yesterday, which has no log, comes first
    }
    with ExitStack() as stack:
        with environment(own):  # and no longer: other tests of this process have settings of their own
            demo.use_small_log_settings(_SETTINGS)
            demo.ctr("sample", "--from", str(FIRST), "--days", str(HISTORY + 1), "--rows-per-day", ROWS)
            demo.ctr("sample", "--from", str(BAD), "--days", "1", "--rows-per-day", ROWS, "--bad-day")
            add_hostile_rows(BAD)
            client = stack.enter_context(airflow_local.running())
            demo.load_history([FIRST + timedelta(days=n) for n in range(HISTORY)])
            there = {"CTR_AIRFLOW_URL": client.url, "CTR_AIRFLOW_PASSWORD": airflow_environment.password()}
        yield SimpleNamespace(client=client, environment=own | there)


@pytest.fixture(scope="session")
def _nights(airflow_server, _webhook) -> SimpleNamespace:
    with environment(airflow_server.environment):
        outcomes = demo.nightly([GOOD, BAD])
    return SimpleNamespace(good=outcomes[GOOD], bad=outcomes[BAD], notices=[*_webhook.bodies])


@pytest.fixture
def nights(airflow_server, _nights) -> Iterator[SimpleNamespace]:
    """After days of history a good night and a bad night; the settings are theirs meanwhile."""
    with environment(airflow_server.environment):
        yield _nights


@pytest.fixture
def airflow(airflow_server, nights) -> AirflowClient:
    """The Airflow that ran the nights."""
    return airflow_server.client


@pytest.fixture(scope="session")
def repaired(airflow_server, _nights) -> SimpleNamespace:
    """The damaged day is delivered again, the good day is corrected; `ctr backfill` redoes both."""
    with environment(airflow_server.environment):
        champion = registry.champion()
        remove_hostile_rows(BAD)
        demo.ctr("sample", "--from", str(BAD), "--days", "1", "--rows-per-day", ROWS)
        demo.ctr("sample", "--from", str(GOOD), "--days", "1", "--rows-per-day", str(int(ROWS) + 100))
        steps = plan(get_lake())
        report = ctr_json("backfill", "--from", str(GOOD), "--to", str(BAD))
        return SimpleNamespace(
            champion_before=champion,
            champion=registry.champion(),
            steps=steps,
            report=report,
            stale=plan(get_lake()),
            decision=get_lake().record(Decision, BAD),
        )


@pytest.fixture(scope="session")
def approved(airflow_server, repaired) -> SimpleNamespace:
    """The gate's verdict of the repaired day is *hold* this time; a person reads the evidence and promotes the candidate."""
    with environment(airflow_server.environment):
        undecided = dict.fromkeys(("promoted", "decided_by", "refusal"))
        held = {"verdict": "hold", "reasons": [HOLD_REASON], "may_promote": True}
        get_lake().write_record(repaired.decision.model_copy(update=undecided | held))
        run = clear_from(airflow_server.client, BAD, "decide")
        question = answer(airflow_server.client, run, "promote")
        return SimpleNamespace(
            question=question, decision=get_lake().record(Decision, BAD), champion=registry.champion()
        )


@pytest.fixture(scope="session")
def rolled_back(airflow_server, approved) -> SimpleNamespace:
    """The DAG `ctr_rollback` took the approved champion back."""
    with environment(airflow_server.environment):
        state = trigger(airflow_server.client, "ctr_rollback", {"reason": ROLLBACK_REASON})
        return SimpleNamespace(
            state=state, champion=registry.champion(), taken_back=registry.get(approved.champion.version)
        )


@pytest.fixture(scope="session")
def killed(airflow_server, rolled_back, _webhook) -> SimpleNamespace:
    """The process of a task, which is not tried again, was killed; the notices that were sent since."""
    before = len(_webhook.bodies)
    with environment(airflow_server.environment):
        with tasks_killed():
            state = trigger(airflow_server.client, "ctr_rollback", {"reason": "is killed"})
        wait_for(lambda: len(_webhook.bodies) > before, 120, "no notice of the killed task")
        health = ctr_json("health", *_AT_ANY_AGE)
    return SimpleNamespace(state=state, notices=_webhook.bodies[before:], health=health)
