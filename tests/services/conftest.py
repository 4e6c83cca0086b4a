"""Real services for the tests of this folder, started once, on free ports of 127.0.0.1, and stopped by process id."""

import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from environment import environment
from real_services import FIRST, Hdfs, Service

from include.airflow_control import demo
from include.lake.lake import Lake, get_lake
from include.lake.manifest import new_build
from include.orchestration.spark_submit import submit
from include.setting_groups import PROJECT

ROWS = "1500"
HISTORY = 3


@contextmanager
def _stopped(service):
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture(scope="session")
def _hdfs(tmp_path_factory) -> Iterator[Hdfs]:
    if shutil.which("apt-get") is None:
        pytest.skip("HDFS's server needs Java packages of Debian, and there is no apt-get")
    with _stopped(Hdfs(tmp_path_factory.mktemp("hdfs"))) as started:
        yield started


@pytest.fixture
def hdfs(_hdfs) -> Iterator[Hdfs]:
    """An HDFS, and the environment of its clients; a test that ends a node starts it again."""
    with environment(_hdfs.environment):
        yield _hdfs


@pytest.fixture
def root(hdfs) -> str:
    """URL of an empty folder in HDFS, of this test alone."""
    return f"{hdfs.url}/tests/{new_build()}"


@pytest.fixture
def lake(root) -> Lake:
    """An empty lake in HDFS."""
    lake = Lake(f"{root}/lake")
    lake.fs.makedirs(lake.root)
    return lake


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory) -> Iterator[Service]:
    """A Spark master and two workers of one core."""
    with environment({"PYTHONPATH": str(PROJECT)}):
        started = Service("spark-cluster.sh", tmp_path_factory.mktemp("spark"), 2)
    with _stopped(started):
        yield started


class Cluster:
    """HDFS and Spark together, as the settings of this project name them."""

    def __init__(self, home: Path, hdfs: Hdfs, spark: Service) -> None:
        self._values = hdfs.environment | {
            "CTR_HOME": str(home),
            "CTR_LAKE": f"{hdfs.url}/tests/lake",
            "CTR_RAW": f"{hdfs.url}/tests/raw",
            "CTR_SPARK_MASTER": spark.url,
            "CTR_SPARK_DRIVER_MEMORY": "1g",
            "SPARK_LOCAL_IP": "127.0.0.1",
        }

    def using(self, **others: str) -> AbstractContextManager[None]:
        """This process works on the cluster meanwhile."""
        return environment(self._values | others)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory, _hdfs, spark_cluster) -> Cluster:
    return Cluster(tmp_path_factory.mktemp("home"), _hdfs, spark_cluster)


def _load_days() -> Lake:
    last = FIRST + timedelta(days=HISTORY - 1)
    demo.use_small_log_settings({"CTR_LLM_MAX_TEXTS": "40"})
    demo.ctr("sample", "--from", str(FIRST), "--days", str(HISTORY + 2), "--rows-per-day", ROWS)
    for _ in submit("history", FIRST, last):
        pass
    return get_lake()


@pytest.fixture(scope="session")
def one_computer(tmp_path_factory) -> dict[str, str]:
    """Settings that make the same days with local files and `local[2]`, whatever is set around them."""
    home = tmp_path_factory.mktemp("local")
    return {"CTR_HOME": str(home), "CTR_LAKE": "", "CTR_RAW": "", "CTR_SPARK_MASTER": "local[2]"}


@pytest.fixture(scope="session")
def local_days(one_computer) -> Lake:
    """Days made with `local[2]` and local files; raw files of two more lie there."""
    with environment(one_computer):
        return _load_days()


@pytest.fixture(scope="session")
def cluster_days(cluster) -> Lake:
    """The same days, made on the cluster."""
    with cluster.using():
        return _load_days()
