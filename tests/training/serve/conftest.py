"""A champion, its service and the rows of its last day."""

import pytest
from service_in_process import LAST, Service

from training.serve import scoring
from training.tables import read_day


@pytest.fixture
def champion(promoted):
    promoted(LAST)
    return scoring.load_champion()


@pytest.fixture
def service(world, champion):
    service = Service(world)
    service.live.look()
    return service


@pytest.fixture
def table(world, champion):
    return read_day(world.lake, "training", LAST, "a test").sort_by("event_id").select(champion.columns)
