"""Suites run through Great Expectations: which expectations and row checks hold, and sample rows of those that do not.

Boolean results of all expectations come first, in one batch; details only of those that failed.
"""

import json
import os
import threading
from functools import reduce
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from include.checks import Check, Measure, check_result
from include.quality.masking import masked
from include.quality.suites import Expectation, RowCheck, Suite
from spark_jobs.audit.data_docs import Answer

SAMPLE_ROWS = 10
_FLAG = "row_check_"
_ONE_AT_A_TIME = threading.Lock()


def run_suites(frames: dict[str, DataFrame], suites: list[Suite]) -> list[Answer]:
    """Run the suites of a stage's tables (`frames` by table name); return every expectation and row check with its record."""
    flagged = {suite.table: frames[suite.table].withColumns(_flags(suite)) for suite in suites}
    batch = flagged[suites[0].table] if len(suites) == 1 else _flags_of_all(flagged, suites)
    items: list[tuple[Suite, Expectation | RowCheck]] = []
    for suite in suites:
        items += [(suite, expectation) for expectation in suite.expectations]
        items += [(suite, check) for check in suite.row_checks]
    configurations = [_gx_expectation(item, suite) for suite, item in items]
    results = _validate(batch, configurations, {"result_format": "BOOLEAN_ONLY"})
    answers = []
    for (suite, item), configuration, result in zip(items, configurations, results, strict=True):
        failure = None if result["success"] else _details(flagged[suite.table], suite, item, configuration)
        answers.append(Answer(item, _record(suite, item, failure), failure))
    return answers


def _flags(suite: Suite) -> dict[str, Column]:
    """Return a Boolean column for each row check, true where it holds and never null."""
    return {_flag(suite, check): F.expr(f"coalesce({check.holds}, false)") for check in suite.row_checks}


def _flag(suite: Suite, check: RowCheck) -> str:
    return f"{_FLAG}{suite.table}_{suite.row_checks.index(check)}"


def _flags_of_all(flagged: dict[str, DataFrame], suites: list[Suite]) -> DataFrame:
    """Return the row checks of several tables side by side: one batch answers for all. Such suites have no expectations."""
    assert not any(suite.expectations for suite in suites)
    names = [_flag(suite, check) for suite in suites for check in suite.row_checks]
    parts = []
    for table, frame in flagged.items():
        own = {name for name in names if name.startswith(f"{_FLAG}{table}_") and name in frame.columns}
        parts.append(frame.select(*(F.col(name) if name in own else F.lit(True).alias(name) for name in names)))
    return reduce(DataFrame.unionByName, parts)


def _details(checked: DataFrame, suite: Suite, item: Expectation | RowCheck, expectation: Any) -> dict[str, Any]:
    """Return the GX result of one failed expectation, with a sample of its rows."""
    result_format = {
        "result_format": "SUMMARY",
        "partial_unexpected_count": SAMPLE_ROWS,
        "unexpected_index_column_names": [*suite.key, *_shows(item)],
    }
    return _validate(checked, [expectation], result_format)[0]


def _shows(item: Expectation | RowCheck) -> list[str]:
    return list(item.shows) if isinstance(item, RowCheck) else []


def _gx_expectation(item: Expectation | RowCheck, suite: Suite) -> Any:
    import great_expectations.expectations as gxe

    if isinstance(item, RowCheck):
        return gxe.ExpectColumnValuesToBeInSet(column=_flag(suite, item), value_set=[True])
    kind = "".join(part.capitalize() for part in item.type.split("_"))
    arguments = {**item.arguments, **({"column": item.column} if item.column else {})}
    return getattr(gxe, kind)(**arguments)


def _validate(frame: DataFrame, configurations: list[Any], result_format: dict[str, Any]) -> list[dict[str, Any]]:
    """Return GX results in the order of `configurations`."""
    with _ONE_AT_A_TIME:  # a GX context is global to the process
        return _validate_locked(frame, configurations, result_format)


def _validate_locked(
    frame: DataFrame, configurations: list[Any], result_format: dict[str, Any]
) -> list[dict[str, Any]]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_spark("staged", persist=False)
    batch = (
        source.add_dataframe_asset("table").add_batch_definition_whole_dataframe("day").get_batch({"dataframe": frame})
    )
    result = batch.validate(gx.ExpectationSuite(name="suite", expectations=configurations), result_format=result_format)
    results: list[dict[str, Any]] = [entry.to_json_dict() for entry in result.results]
    by_identity = {_identity(entry["expectation_config"]): entry for entry in results}
    return [
        by_identity[_identity({"type": expectation.expectation_type, "kwargs": expectation.configuration.kwargs})]
        for expectation in configurations
    ]


def _identity(configuration: dict[str, Any]) -> str:
    kwargs = {key: value for key, value in configuration["kwargs"].items() if key != "batch_id"}
    return json.dumps([configuration["type"], kwargs], sort_keys=True, default=str)


def _record(suite: Suite, item: Expectation | RowCheck, failure: dict[str, Any] | None) -> Check:
    name = item.name if isinstance(item, RowCheck) else item.type
    common: dict[str, Any] = {"column": item.column, "severity": item.severity}
    share = item.arguments.get("mostly") if isinstance(item, Expectation) else None
    if failure is None:
        no_failures = None if share else Measure(0, high=0)  # nulls are not counted where some are allowed
        return check_result(suite.table, name, True, item.expected, "as expected", measure=no_failures, **common)
    result = failure["result"]
    if not result:
        messages = "; ".join(
            str(info.get("exception_message")) for info in failure["exception_info"].values() if isinstance(info, dict)
        )
        return check_result(suite.table, name, False, item.expected, f"the check could not run: {messages}", **common)
    wrong = result["unexpected_count"]
    rows = result["element_count"]
    observed = f"{wrong:,} of {rows:,} rows"
    measure = Measure(wrong / rows, high=round(1 - share, 9), unit="share") if share else Measure(wrong, high=0)
    failed = check_result(
        suite.table, name, False, item.expected, observed, failing_rows=wrong, measure=measure, **common
    )
    sample = [_masked(row) for row in result.get("partial_unexpected_index_list") or []]
    return failed.model_copy(update={"sample": sample})


def _masked(row: dict[str, Any]) -> dict[str, Any]:
    """Return a sample row for display: sensitive columns as a short hash, long text folded, flags of row checks left out."""
    return {name: masked(name, value) for name, value in row.items() if not name.startswith(_FLAG)}
