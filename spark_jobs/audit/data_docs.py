"""The Data Docs of a stage's day: one page of what Great Expectations found, drawn by its own renderers.

The page stands alone, without scripts, fonts or style sheets from elsewhere. Great Expectations escapes only a part of what it
draws, so every text is escaped before; of the rows that failed it gets the masked samples of the quality record, no others.
"""

import html
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from include.quality.suites import Expectation, RowCheck
from include.records import Record
from include.stages import Stage


@dataclass(frozen=True)
class Answer:
    """One expectation or row check of a suite, its quality record, and the details that GX gave where it failed."""

    item: Expectation | RowCheck
    record: Record
    failure: dict[str, Any] | None


def page(stage: Stage, day: date, build: str, found: list[Answer]) -> str:
    """The page as HTML; sections in which something failed come first."""
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    met = sum(each.failure is None for each in found)
    document = ValidationResultsPageRenderer().render(
        ExpectationSuiteValidationResult(
            success=met == len(found),
            results=[_result(each) for each in found],
            suite_name=stage,
            statistics={
                "evaluated_expectations": len(found),
                "successful_expectations": met,
                "unsuccessful_expectations": len(found) - met,
                "success_percent": 100 * met / len(found),
            },
        )
    )
    overview, *sections = document.sections
    overview.content_blocks = overview.content_blocks[1:2]  # the statistics; the rest links to pages of a whole site
    failed = {_section(each) for each in found if each.failure}
    document.sections = [overview, *sorted(sections, key=lambda section: section.section_name not in failed)]
    view = DefaultJinjaPageView(custom_views_directory=str(Path(__file__).parent / "templates"))
    told: str = view.render(document, template="data_docs.html.j2", stage=stage, day=day, build=build)
    return told


def _section(answer: Answer) -> str:
    return html.escape(f"{answer.record['table']}: {answer.record['column'] or 'rows'}")


def _result(answer: Answer) -> Any:
    """A GX result in the words of the suite; the flag column of a row check is not told."""
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    item, told, failure = answer.item, answer.record, answer.failure
    warning = " (a warning)" if item.severity == "warning" else ""
    broken = f"\n{told['observed']}" if failure and not failure["result"] else ""
    kind, arguments = (
        (item.type, item.arguments)
        if isinstance(item, Expectation)
        else ("expect_column_values_to_be_in_set", {"value_set": [True]})
    )
    return ExpectationValidationResult(
        success=failure is None,
        expectation_config=ExpectationConfiguration(
            type=kind,
            kwargs={**arguments, "column": _section(answer)},
            description=html.escape(f"{told['name']}{warning}: {item.expected}{broken}"),
        ),
        result=_figures(answer),
    )


def _figures(answer: Answer) -> dict[str, Any]:
    """How many rows failed, and the sample; what was not asked (how many nulls there are, where some may be) is left out."""
    if answer.failure is None:
        return {"unexpected_percent": 0.0} if answer.record["measure"] else {}
    if not answer.failure["result"]:
        return {}
    known = ("element_count", "unexpected_count", "unexpected_percent")
    sample = [html.escape(json.dumps(row, ensure_ascii=False)) for row in answer.record["sample"]]
    return {name: answer.failure["result"][name] for name in known} | {"partial_unexpected_list": sample}
