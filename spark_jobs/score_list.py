"""Adds to a list of impressions that were never logged the features that impressions of the day have.

    spark-submit spark_jobs/score_list.py --from 2023-07-17 --to 2023-07-17 --list _lists/0123456789abcdef

The code that reads raw logs has typed the rows, and the code that makes training rows joins them: the same row gets the same
features, whether it was logged or comes from a list.
"""

from dataclasses import dataclass
from datetime import date
from typing import Annotated

import pyarrow as pa
import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from include.calendar import previous
from include.errors import InvalidInputError
from include.lake.lake import get_lake
from include.quality.masking import masked
from include.raw.raw_mapping import raw_mapping
from include.raw.reading.values import whole_ids
from include.raw.score_list import rows_path
from include.settings import get_settings
from spark_jobs.session import get_session, own_session, read_table, read_uri, write_table
from spark_jobs.stage import FirstDay, LastDay, emit, exit_clearly
from spark_jobs.training_table import history_before, join_features

TEXTS = ("item_title", "item_entities")
_EXAMPLES = 5
_COMPARED = 1_000


@dataclass(frozen=True)
class Unknown:
    """The rows whose user (`users`) or item (`items`) the features of the day before do not know, of all rows.

    `examples` are masked ids with their rows (from 1); there are no `known_examples` of a sensitive column. `spelled` of the
    `compared` ids are known as whole numbers.
    """

    entity: str
    rows: int
    of: int
    examples: tuple[str, ...] = ()
    known_examples: tuple[str, ...] = ()
    compared: int = 0
    spelled: int = 0

    def __str__(self) -> str:
        whole = f" {self.spelled:,} of {self.compared:,} of them are known as whole numbers." if self.spelled else ""
        known = f"; known are {', '.join(self.known_examples)}" if self.known_examples else ""
        return (
            f"{self.rows:,} of {self.of:,} rows have unknown {self.entity} ({self.rows / self.of:.1%}), such as "
            f"{', '.join(self.examples)}{known}.{whole}"
        )


def main(
    day: FirstDay,
    last: LastDay,  # noqa: ARG001, every job has it
    folder: Annotated[str, typer.Option("--list", help="folder of the list in the lake")],
    name: Annotated[str, typer.Option("--name", help="name of the list in messages")] = "The list",
    allow_unknown: Annotated[
        list[str] | None, typer.Option("--allow-unknown", help="users or items: most may be unknown")
    ] = None,
) -> None:
    """Join a list of impressions to the features of a day, and write the rows beside it.

    Raises `MissingDataError` where the features of the day before are not published, `InvalidInputError` where they know fewer of
    the users or items than the settings demand.
    """
    lake = get_lake()
    spark = own_session(get_session(f"list {day}"), lake.size(folder))
    listed = spark.read.parquet(lake.uri(f"{folder}/list.parquet"))
    count = listed.count()
    history, inputs = history_before(spark, lake, day)
    if lake.manifest("features", previous(day)):
        items = read_table(spark, lake, "items", previous(day), f"The list of {day}").select("item_id", *TEXTS)
        listed = _with_texts(listed, items)
    path = rows_path(folder, day)
    _remove(path)
    write_table(join_features(listed, history, day), "training", lake.uri(path), count)
    rows = read_uri(spark, "training", lake.uri(path))
    unknown_users, unknown_items = rows.agg(
        *(F.count_if(F.col(f"{entity}_level") == "zero") for entity in ("user", "item"))
    ).first()  # type: ignore[misc]
    shares = {"users": unknown_users, "items": unknown_items}
    bound = get_settings().max_unknown_ids
    refused = [
        _examined(rows, history.tables[f"totals_{entity[:-1]}"], entity, number, count)
        for entity, number in shares.items()
        if inputs and number > bound * count and entity not in (allow_unknown or ())
    ]
    if refused:
        _remove(path)
        raise InvalidInputError(_refusal(name, day, refused, shares))
    known = {f"known_{entity}": count - number for entity, number in shares.items()}
    emit("list", day, "written", rows=count, **known, has_history=bool(inputs))


def _with_texts(listed: DataFrame, items: DataFrame) -> DataFrame:
    """Return the rows with the latest text of an item where the list has none."""
    return (
        listed.alias("l")
        .join(items.alias("i"), "item_id", "left")
        .select(
            *(f"l.{name}" for name in listed.columns if name not in (*TEXTS, "item_id")),
            "item_id",
            F.coalesce("l.item_title", "i.item_title").alias("item_title"),
            F.when(F.size("l.item_entities") > 0, F.col("l.item_entities"))
            .otherwise(F.coalesce("i.item_entities", "l.item_entities"))
            .alias("item_entities"),
        )
    )


def _remove(path: str) -> None:
    lake = get_lake()
    if lake.fs.exists(lake.path(path)):
        lake.fs.rm(lake.path(path), recursive=True)


def _examined(rows: DataFrame, known: DataFrame, entity: str, number: int, count: int) -> Unknown:
    """Return examples of unknown ids, and whether they are another spelling of known ones: `17.0` or `017` of `17`."""
    column = f"{entity[:-1]}_id"
    unknown = rows.where(F.col(f"{entity[:-1]}_level") == "zero")
    by_id = unknown.groupBy(column).agg(F.min("event_id").alias("first")).orderBy("first").limit(_COMPARED)
    first_rows = {row[column]: int(row["first"].rsplit("#", 1)[1]) + 1 for row in by_id.collect()}
    whole, wrong = whole_ids(pa.array(list(first_rows), pa.string()))
    whole_numbers = [value for value, bad in zip(whole.to_pylist(), wrong, strict=True) if not bad]
    spellings = {*whole_numbers, *(f"{value}.0" for value in whole_numbers)} - {*first_rows}
    spelled = known.where(F.col(column).isin(sorted(spellings))).count() if spellings else 0
    examples = [f"{masked(column, value)} (row {row:,})" for value, row in list(first_rows.items())[:_EXAMPLES]]
    is_shown = column not in get_settings().sensitive_columns
    some_known = [row[column] for row in known.select(column).limit(3).collect()] if is_shown else []
    return Unknown(
        entity, number, count, tuple(examples), tuple(some_known), len(first_rows), min(spelled, len(first_rows))
    )


def _refusal(name: str, day: date, refused: list[Unknown], unknown_rows: dict[str, int]) -> str:
    count = refused[0].of
    others = [
        f"- {count - number:,} of {count:,} rows have known {entity} ({(count - number) / count:.1%})."
        for entity, number in unknown_rows.items()
        if entity not in {unknown.entity for unknown in refused}
    ]
    options = " ".join(f"--allow-unknown {unknown.entity}" for unknown in refused)
    if any(unknown.spelled for unknown in refused):
        next_step = "Write them in the list as the logs do"
        if raw_mapping().ids != "integer":
            next_step += ", or say 'ids: integer' in the mapping (which makes published days stale)"
    else:
        next_step = "Compare their spelling with that in the logs"
    return (
        f"{name}: expected at most {get_settings().max_unknown_ids:.1%} of the rows (CTR_MAX_UNKNOWN_IDS) with a user, or with "
        f"an item, that the features of {previous(day)} do not know, found:\n"
        + "\n".join([*(f"- {unknown}" for unknown in refused), *others])
        + f"\nNothing was scored. {next_step}. If they are new: {options}."
    )


if __name__ == "__main__":
    exit_clearly(main)
