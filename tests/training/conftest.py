"""A small published lake, made once, and a model trained on it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import fabricate
import pandas as pd
import pytest

from include.lake import Lake, lake
from include.settings import Settings, settings
from training.train import Trained, fit

DAYS, ROWS = 5, 600


@dataclass(frozen=True)
class World:
    """A home with `DAYS` published days, and the log that they were made of."""

    home: Path
    lake: Lake
    log: pd.DataFrame

    @property
    def settings(self) -> Settings:
        """Settings of this home, with steps small enough for so few rows."""
        return Settings(home=self.home, batch_size=64)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The lake that tests read; one that changes it takes `world`, its own copy."""
    home = tmp_path_factory.mktemp("fabricated")
    log = fabricate.impressions(DAYS, ROWS)
    store = Lake(f"file://{home}/lake")
    for number in range(DAYS):
        fabricate.publish(store, log, number)
    fabricate.fake_vectors(store, log)
    fabricate.fake_vectors(store, log, fabricate.LLM, dim=96, seed=2)
    return World(home, store, log)


@pytest.fixture
def world(made: World, home: Path) -> World:
    """A copy of the lake as the lake of the settings, with an empty registry."""
    shutil.copytree(made.home / "lake", home / "lake")
    settings.cache_clear()
    return World(home, lake(), made.log)


@pytest.fixture(scope="session")
def trained(made: World) -> Trained:
    """A model of the first four days, started from nothing."""
    return fit(made.lake, [fabricate.day(number) for number in range(DAYS - 1)], made.settings, None)
