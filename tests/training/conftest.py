"""A small published lake, made once, and a model trained on it."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import fabricate
import pandas as pd
import pytest

from include.lake.lake import Lake, get_lake
from include.records import Train
from include.registry import registry
from include.settings import Settings, get_settings
from training.learn.train import Trained, fit, run

DAYS, ROWS = 5, 600
ARTIFACT_COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
}
"""Columns of MLflow's database that hold places of artifacts."""


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
    lake = Lake(f"file://{home}/lake")
    for number in range(DAYS):
        fabricate.publish(lake, log, number)
    fabricate.fake_vectors(lake, log)
    fabricate.fake_vectors(lake, log, fabricate.LLM, dim=96, seed=2)
    return World(home, lake, log)


@pytest.fixture
def world(made: World, home: Path) -> World:
    """A copy of the lake as the lake of the settings, with an empty registry."""
    shutil.copytree(made.home / "lake", home / "lake")
    get_settings.cache_clear()
    return World(home, get_lake(), made.log)


@pytest.fixture(scope="session")
def trained(made: World) -> Trained:
    """A model of the first four days, started from scratch."""
    return fit(made.lake, [fabricate.day(number) for number in range(DAYS - 1)], made.settings, None)


@pytest.fixture(scope="session")
def trained_home(
    made: World, empty_database: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[date], tuple[Path, Train]]:
    """A home in which the candidate of a day was trained, once for all tests, and the record of it."""

    @cache
    def trained_home(day: date) -> tuple[Path, Train]:
        home = tmp_path_factory.mktemp("trained")
        (home / "mlflow.db").write_bytes(empty_database)
        shutil.copytree(made.home / "lake", home / "lake")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CTR_HOME", str(home))
            get_settings.cache_clear()
            record = run(day, World(home, made.lake, made.log).settings)
        get_settings.cache_clear()
        return home, record

    return trained_home


@pytest.fixture
def candidate(world: World, trained_home: Callable[[date], tuple[Path, Train]]) -> Callable[[date], Train]:
    """Puts the candidate of a day into the world's empty registry, as `train.run` would, and returns its record."""

    def candidate(day: date) -> Train:
        home, record = trained_home(day)
        database = world.home / "mlflow.db"
        shutil.copyfile(home / "mlflow.db", database)
        shutil.copytree(home / "mlflow", world.home / "mlflow")
        with closing(sqlite3.connect(database)) as connection, connection:
            for table, columns in ARTIFACT_COLUMNS.items():
                for column in columns:
                    change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
                    connection.execute(change, (str(home), str(world.home)))
        world.lake.write_record(record)
        return record

    return candidate


@pytest.fixture
def promoted(candidate: Callable[[date], Train]) -> Callable[[date], Train]:
    """As `candidate`, and the version is promoted."""

    def promoted(day: date) -> Train:
        record = candidate(day)
        registry.promote(record.version, reason="test", by="test")
        return record

    return promoted
