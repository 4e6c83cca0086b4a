"""The Data Docs of a stage's day: one page of the results of Great Expectations, drawn by its own renderers.

The page is self-contained: no scripts, fonts or style sheets from elsewhere. Great Expectations escapes only a part of what it
draws, so every text is escaped before. Of failed rows it gets only the masked samples of the quality record.
"""

import html
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from include.checks import Check
from include.quality.suites import Expectation, RowCheck
from include.stages import Stage


@dataclass(frozen=True)
class Answer:
    """One expectation or row check of a suite, its quality record, and the details that GX gave where it failed."""

    item: Expectation | RowCheck
    record: Check
    failure: dict[str, Any] | None


def page(stage: Stage, day: date, build: str, answers: list[Answer]) -> str:
    """Return the page as HTML; sections with a failure come first."""
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    passed = sum(answer.failure is None for answer in answers)
    document = ValidationResultsPageRenderer().render(
        ExpectationSuiteValidationResult(
            success=passed == len(answers),
            results=[_result(answer) for answer in answers],
            suite_name=stage,
            statistics={
                "evaluated_expectations": len(answers),
                "successful_expectations": passed,
                "unsuccessful_expectations": len(answers) - passed,
                "success_percent": 100 * passed / len(answers),
            },
        )
    )
    overview, *sections = document.sections
    overview.content_blocks = overview.content_blocks[1:2]  # the statistics; the rest links to pages of a whole site
    failed = {_section(answer) for answer in answers if answer.failure}
    document.sections = [overview, *sorted(sections, key=lambda section: section.section_name not in failed)]
    view = DefaultJinjaPageView(custom_views_directory=str(Path(__file__).parent / "templates"))
    text: str = view.render(document, template="data_docs.html.j2", stage=stage, day=day, build=build)
    return text


def _section(answer: Answer) -> str:
    return html.escape(f"{answer.record.table}: {answer.record.column or 'rows'}")


def _result(answer: Answer) -> Any:
    """Return a GX result in the words of the suite, without the flag column of a row check."""
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    item = answer.item
    failure = answer.failure
    warning = " (a warning)" if item.severity == "warning" else ""
    error = f"\n{answer.record.observed}" if failure and not failure["result"] else ""
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
            description=html.escape(f"{answer.record.name}{warning}: {item.expected}{error}"),
        ),
        result=_figures(answer),
    )


def _figures(answer: Answer) -> dict[str, Any]:
    """Return how many rows failed, and the sample; nothing where failures were not counted (nulls where some are allowed)."""
    if answer.failure is None:
        return {"unexpected_percent": 0.0} if answer.record.measure else {}
    if not answer.failure["result"]:
        return {}
    names = ("element_count", "unexpected_count", "unexpected_percent")
    sample = [html.escape(json.dumps(row, ensure_ascii=False)) for row in answer.record.sample]
    return {name: answer.failure["result"][name] for name in names} | {"partial_unexpected_list": sample}
