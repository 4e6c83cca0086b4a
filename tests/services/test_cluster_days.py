"""Days of the data side on HDFS and a Spark standalone cluster: what one computer and local files give, row by row."""

from datetime import timedelta

import pytest
from real_services import FIRST, differing_tables

from include.errors import StorageError
from include.lake.lake import Lake
from include.orchestration.spark_submit import submit
from include.settings import get_settings

pytestmark = [pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(1800)]

DAYS = [FIRST + timedelta(days=n) for n in range(3)]


def test_three_days_on_the_cluster_have_the_rows_of_one_computer(local_days, cluster_days):
    assert differing_tables(local_days, cluster_days, DAYS) == []


def test_a_job_over_its_quota_says_so_and_publishes_nothing(hdfs, cluster, cluster_days, root):
    with cluster.using(CTR_LAKE=f"{root}/lake", CTR_SPARK_MASTER="local[2]"):
        lake = Lake(get_settings().lake_url)
        lake.fs.makedirs(lake.root)
        hdfs.admin("-setSpaceQuota", "1k", lake.root)
        with pytest.raises(StorageError, match=rf"quota of space, found: .*{lake.root}.* is exceeded"):
            list(submit("ingest", FIRST, FIRST))
        assert lake.days("logs") == []


def test_days_survive_the_kill_of_a_worker_and_a_datanode(hdfs, spark_cluster, cluster, local_days, cluster_days, root):
    with cluster.using(CTR_LAKE=f"{root}/lake"):
        events = submit("history", DAYS[0], DAYS[-1])
        for event in events:
            if (event["stage"], event["day"], event["state"]) == ("features", str(DAYS[1]), "start"):
                break
        spark_cluster.kill("worker1")
        hdfs.kill("datanode1")
        assert (str(DAYS[-1]), "published") in [(event["day"], event["state"]) for event in events]
    hdfs.start()
    spark_cluster.start()
    assert differing_tables(local_days, Lake(f"{root}/lake"), DAYS) == []
