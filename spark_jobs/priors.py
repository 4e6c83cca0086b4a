"""Reads the scenes' priors for a job."""

from pyspark.sql import DataFrame

from include.settings import get_settings
from spark_jobs.session import few_rows


def every_scene(priors: DataFrame) -> DataFrame:
    """Return `features_scene` with a row for each scene added to the settings since: its prior is the CTR of all scenes."""
    rows = {row["scene"]: row for row in priors.collect()}
    k = get_settings().ctr_smoothing
    new = [scene for scene in get_settings().scenes if scene not in rows]
    if not new:
        return priors
    prior = next(iter(rows.values()))["prior_ctr"]
    added = few_rows(priors.sparkSession, "features_scene", [(scene, 0, 0, prior, prior, k, k) for scene in new])
    return priors.unionByName(added)
