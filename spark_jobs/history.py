"""All three stages of many days in one Spark session: the quick way to load a first history.

    spark-submit spark_jobs/history.py --from 2023-07-10 --to 2023-07-16

Each day is staged, audited and published before the next one; a critical failure stops the run at that day.
"""

from collections.abc import Sequence

from include.lake import lake
from include.schemas import Stage
from spark_jobs import features, ingest, training_table
from spark_jobs.session import get_session
from spark_jobs.stage import Build, day_range, exit_clearly, prepare_audit, stage_day

STEPS: tuple[tuple[Stage, Build], ...] = (
    ("logs", ingest.build),
    ("features", features.build),
    ("training", training_table.build),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Stages, audits and publishes every stage of `--from D --to D`, in order."""
    days, _ = day_range(argv, "Loads a history: logs, features and training rows of each day.", publishes=True)
    prepare_audit()
    spark = get_session(f"history {days[0]}..{days[-1]}")
    store = lake()
    for day in days:
        for stage, build in STEPS:
            stage_day(spark, store, stage, day, build, publish=True)


if __name__ == "__main__":
    exit_clearly(main)
