"""Checks of the ids in a day's log: one with an implausible share of it, words that stand for none, one id in two spellings.

They are warnings: such rows describe one user or item wrongly, and no other.
"""

import json
from typing import Any

import pandas as pd
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from include.checks import Check, Measure, check_result
from include.quality.masking import masked
from include.quality.suites import ENOUGH_ROWS, MAX_RESPELLED_SHIFT, NULL_WORDS
from include.settings import get_settings
from spark_jobs.audit.gx import SAMPLE_ROWS

IDS = ("user_id", "item_id")

Profile = dict[str, Any]
"""By column: `respelled`, the rows whose id is a whole number written in another way (`123.0`, `00123`)."""


def id_facts(sample: pd.DataFrame) -> list[Column]:
    """Return what is counted of all rows: by column its most frequent id in `sample`, words for none, respelled numbers."""
    facts = []
    for column in IDS:
        top = F.lit(sample[column].mode().iloc[0]) if len(sample) else F.lit(None)
        facts += [
            F.first(top).alias(f"top {column}"),
            F.count_if(F.col(column) == top).alias(f"top {column} rows"),
            F.count_if(_is_null_word(column)).alias(f"null {column} rows"),
            F.count_if(F.col(column) != _plain(column)).alias(f"respelled {column} rows"),
        ]
    return facts


def _is_null_word(column: str) -> Column:
    return F.lower(column).isin(*NULL_WORDS)


def _plain(column: str) -> Column:
    """Return an id that is a whole number as such: `123` for `00123` and `123.0`; any other id as it is."""
    id_ = F.col(column)
    unusual = id_.startswith("0") | (id_.endswith("0") & id_.contains("."))
    return F.when(unusual, F.regexp_replace(id_, r"^0*(\d+?)(\.0+)?$", "$1")).otherwise(id_)


def id_checks(logs: DataFrame, rows: int, facts: Row, past: list[dict[str, Any]]) -> tuple[Profile, list[Check]]:
    """Return what the profile keeps of the ids of a day's log, and their checks.

    `rows` are those of the log, `facts` the row of `id_facts`, `past` the profiles of the days before.
    """
    checks = []
    for column in IDS:
        checks += [
            _share(column, facts, rows),
            _null_words(logs, column, facts[f"null {column} rows"]),
            _spellings(logs, column, rows, facts[f"respelled {column} rows"], _respelled_before(column, past)),
        ]
    return {column: {"respelled": facts[f"respelled {column} rows"]} for column in IDS}, checks


def _share(column: str, facts: Row, rows: int) -> Check:
    limit = get_settings().max_user_share if column == "user_id" else get_settings().max_item_share
    enough = rows >= ENOUGH_ROWS
    count = facts[f"top {column} rows"]
    share = Measure(count / rows, high=limit if enough else None, unit="share")
    return check_result(
        "logs",
        "expect_no_dominant_id",
        share.within,
        f"no {column} with more than {limit:.2%} of the rows" if enough else "too few rows to compare",
        f"{masked(column, facts[f'top {column}'])}: {share.value:.2%} ({count:,} of {rows:,} rows)",
        column=column,
        severity="warning",
        failing_rows=count,
        measure=share,
    )


def _null_words(logs: DataFrame, column: str, rows: int) -> Check:
    """Check that no id is a word for none; the words are no secret, so they are listed as they are."""
    words: dict[str, int] = {}
    if rows:
        found = logs.where(_is_null_word(column)).groupBy(column).count().orderBy(F.desc("count"), column)
        words = {row[column]: row["count"] for row in found.collect()}
    listed = ", ".join(f"{word} ({count:,} rows)" for word, count in words.items())
    advice = f"nulls: {json.dumps(list(words))}"
    return check_result(
        "logs",
        "expect_no_null_words",
        rows == 0,
        f"no {column} that stands for none, such as NULL or nan",
        f"{listed}; where they mean none, add to the mapping {get_settings().raw_mapping}: {advice}"
        if rows
        else "none",
        column=column,
        severity="warning",
        failing_rows=rows,
        measure=Measure(rows, high=0),
    )


def _respelled_before(column: str, past: list[dict[str, Any]]) -> float | None:
    """Return the share of the rows of the days before whose id is respelled; None where that is not known."""
    known = [profile for profile in past if column in profile.get("ids", {})]
    rows = sum(profile["rows"] for profile in known)
    return sum(profile["ids"][column]["respelled"] for profile in known) / rows if rows >= ENOUGH_ROWS else None


def _spellings(logs: DataFrame, column: str, rows: int, respelled: int, before: float | None) -> Check:
    """Check that an id is spelled in one way, on the day and as on the days before."""
    ids, rows_twice, sample = _twice(logs, column) if respelled else (0, 0, [])
    share = respelled / rows
    moved = before is not None and rows >= ENOUGH_ROWS and abs(share - before) > MAX_RESPELLED_SHIFT
    observed = f"{ids:,} ids in two ways ({rows_twice:,} rows)"
    if moved:
        observed += f"; {share:.0%} of the rows have ids such as 123.0 or 00123, on the days before {before:.0%}"
    advice = f"`ids: integer` in the mapping {get_settings().raw_mapping} reads them as whole numbers"
    found = check_result(
        "logs",
        "expect_one_spelling_of_an_id",
        not ids and not moved,
        f"each {column} written in one way, not as 123 and 123.0 or 00123",
        f"{observed}; {advice}" if ids or moved else "as expected",
        column=column,
        severity="warning",
        failing_rows=rows if moved else rows_twice,
        measure=Measure(ids, high=0, unit="ids"),
    )
    return found.model_copy(update={"sample": sample})


def _twice(logs: DataFrame, column: str) -> tuple[int, int, list[dict[str, Any]]]:
    """Return the number of ids that are spelled in two ways, that of their rows, and some of these rows."""
    spelled = logs.groupBy(column, _plain(column).alias("plain")).agg(
        F.count(F.lit(1)).alias("rows"), F.min("event_id").alias("event_id")
    )
    spellings = F.sort_array(F.collect_list(F.struct(column, "event_id"))).alias("spellings")
    twice = (
        spelled.groupBy("plain").agg(F.sum("rows").alias("rows"), spellings).where(F.size("spellings") > 1).persist()
    )
    try:
        totals = twice.agg(F.count(F.lit(1)).alias("ids"), F.coalesce(F.sum("rows"), F.lit(0)).alias("rows")).first()
        some = twice.orderBy("plain").limit(SAMPLE_ROWS // 2).collect()
    finally:
        twice.unpersist()
    assert totals is not None
    sample = [
        {"event_id": row["event_id"], column: masked(column, row[column])}
        for pair in some
        for row in pair["spellings"][:2]
    ]
    return totals["ids"], totals["rows"], sample
