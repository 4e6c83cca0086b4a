"""What the rows of a day's log hold: its ids and its deep features, checked from one sample and one pass over all rows."""

from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.checks import Check
from include.quality.suites import LOG_SAMPLE_ROWS
from include.schemas import DEEP_FEATURES
from spark_jobs.audit.id_checks import IDS, id_checks, id_facts
from spark_jobs.audit.value_checks import value_checks, value_facts


def log_checks(logs: DataFrame, rows: int, past: list[dict[str, Any]]) -> tuple[dict[str, Any], list[Check]]:
    """Return what the profile keeps of the ids and deep features of a day's log, and their checks.

    `rows` are those of the log, `past` the profiles of the days before. A hash of the event id chooses the sample, so that it
    is the same one every time.
    """
    if not rows:
        return {}, []
    sampled = F.pmod(F.xxhash64("event_id"), F.lit(max(1, rows // LOG_SAMPLE_ROWS))) == 0
    sample = logs.where(sampled).select(*IDS, *DEEP_FEATURES).toPandas()
    facts = logs.agg(*id_facts(sample), *value_facts()).first()
    assert facts is not None
    ids, of_ids = id_checks(logs, rows, facts, past)
    quantiles, of_values = value_checks(logs, sample, facts, past)
    return {"ids": ids, "quantiles": quantiles}, [*of_ids, *of_values]
