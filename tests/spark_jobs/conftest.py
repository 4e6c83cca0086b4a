"""One local Spark session for all tests of this package, and a lake of its own for each test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession

from include.lake.lake import Lake, get_lake
from include.orchestration.spark_submit import driver_java_options
from include.settings import get_settings

_SETTINGS = {"CTR_SPARK_SHUFFLE_PARTITIONS": "2", "CTR_MAX_QUARANTINE_RATE": "1", "CTR_MAX_FIELD_BYTES": "1000000"}


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    java = driver_java_options("history", raw=0, master="local[2]")
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        f"--master local[2] --driver-memory 2g --conf spark.log.level=ERROR --driver-java-options '{java}' "
        # To compile every plan takes longer than these few rows; the whole nights of tests/e2e run compiled plans.
        "--conf spark.sql.codegen.wholeStage=false --conf spark.sql.codegen.factoryMode=NO_CODEGEN pyspark-shell"
    )
    from spark_jobs.session import get_session
    from spark_jobs.stage import prepare_audit

    prepare_audit()
    session = get_session("tests")
    yield session
    session.stop()
    # Else Python's end comes upon the connection, and py4j logs to a stream that pytest has closed.
    gateway = SparkContext._gateway
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait()
    SparkContext._gateway = SparkContext._jvm = None


def _use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("CTR_HOME", str(folder))
    for name, value in _SETTINGS.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return get_lake()


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """An empty lake, its raw logs beside it."""
    yield _use(tmp_path, monkeypatch)
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def module_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake that the tests of a module share: only for tests that read."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield _use(tmp_path_factory.mktemp("lake"), monkeypatch)
    get_settings.cache_clear()
