"""The report says what there is, and says what is missing; it is one page that needs nothing else."""

import csv
import json
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sample_records
from published_day import DAY, NamedModels, publish, register, trained
from scored_days import make_day, model

from include.checks import check_result
from include.lake.lake import get_lake
from include.metrics_records import ColumnDrift
from include.records import CurvePoint, Decision, EmbedCold, Evaluation, Quality, Train, Wait
from include.registry import registry
from include.settings import get_settings
from training.evaluate import evaluation
from training.gate import gate
from training.report import report
from training.report.summary import show_decision, show_evaluation

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROWS = 3_000


def quality(stage: str, ok: bool = True, observed: str = "as expected") -> Quality:
    check = check_result(stage, "expect_column_values_to_be_in_set", ok, "one of 0, 1", observed, column="label")
    return sample_records.quality(stage, DAY, check, rows=3000, seconds={"build": 2.0, "audit": 1.0})


class Page(HTMLParser):
    """Text of a page, and what it would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.loads, self.open = "", [], []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += " " + data

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.open.append(tag)
        self.loads += [value for name, value in attributes if name in ("src", "href") and not value.startswith("#")]

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass


def written() -> Page:
    made = report.run(DAY, get_settings())
    return Page(Path(made["report"].removeprefix("file://")).read_text())


@pytest.fixture
def evaluated(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CTR_BOOTSTRAP_RESAMPLES", "100")
    monkeypatch.setenv("CTR_BASELINE_ROWS", "0")  # these rows have no features
    get_settings.cache_clear()
    day = make_day(ROWS, 8)
    models = NamedModels(good=model(day, 1), other=model(day, 2, noise=3.0))
    monkeypatch.setitem(sys.modules, "training.learn.artifact", models)
    monkeypatch.setattr("training.learn.artifact", models, raising=False)
    publish(day)
    registry.promote(register(home, "other", on=DAY.replace(day=16)).version, reason="first", by="test")
    version = register(home, "good")
    trained(version)
    point = CurvePoint("2023-07-16", rows=9, clicks=3, auc=None, log_loss=0.4, train_loss=0.3, seconds=1.0)
    before = DAY.replace(day=16)
    span = {"days": 1, "base_version": 1, "trained_from": before, "trained_through": before}
    record = get_lake().record(Train, DAY)
    get_lake().write_record(record.model_copy(update={**span, "learning_curve": [point]}))
    get_lake().write_record(quality("training"))
    evaluation.run(DAY, get_settings())
    gate.run(DAY, True, get_settings())
    return home


def test_a_page_starts_with_the_verdict_and_its_reasons(evaluated: Path) -> None:
    """The page loads nothing from elsewhere."""
    page = written()
    decision = get_lake().record(Decision, DAY)
    assert page.loads == []
    assert page.text.index("Promote") < page.text.index("Rules of the gate")
    for sentence in decision.reasons:
        assert sentence in page.text
    auc = get_lake().record(Evaluation, DAY).headline.candidate["auc"].value
    assert f"{auc:.4f}" in page.text
    assert "2023-07-16" in page.text
    assert "There is no record" not in page.text


def test_candidate_and_champion_are_shown_side_by_side(evaluated: Path) -> None:
    """Each comparison says which change the night could see."""
    text = " ".join(written().text.split())
    seen = text[text.index("What the night could see") : text.index("Rules of the gate")]
    for comparison in get_lake().record(Decision, DAY).comparisons:
        assert comparison.name in seen
        assert comparison.change is None or f"{comparison.sees:.4f}" in seen or f"{comparison.sees:.2%}" in seen
    assert "Next: The DAG promotes it" in text


def test_a_candidate_promoted_by_a_person_is_not_undecided(evaluated: Path) -> None:
    assert "No decision yet" in written().text
    registry.promote(2, reason="by hand", by="ann")
    text = written().text
    assert "Promoted by ann." in text
    assert "Next:" not in text


def test_a_decision_of_before_is_still_readable(evaluated: Path) -> None:
    record = get_lake().record(Decision, DAY)
    of_now = ("comparisons", "anchor", "since_anchor", "pcoc")
    power = {"metric": "scene mean gauc", "standard_error": 0.01, "smallest_detectable": 0.02, "margin": 0.035}
    before = {name: value for name, value in record.as_json().items() if name not in of_now}
    get_lake().write_record(Decision(**before | {"power": power, "policy": {"name": "small days"}}))
    text = written().text
    assert "Policy “small days”" in text
    assert "What the night could see" not in text


def test_evaluation_and_gate_end_with_a_few_lines(evaluated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_evaluation(get_lake().record(Evaluation, DAY))
    decision = get_lake().record(Decision, DAY)
    show_decision(decision, report.next_step(decision, None))
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) < 25
    assert f"promote: version 2 of {DAY}, against champion 1" in printed
    assert "log loss, scaled" in printed


def test_what_the_language_model_cost_is_told(evaluated: Path) -> None:
    record = {"day": DAY, "model": "llm", "texts": 9758, "cached": 400, "encoded": 200, "skipped": 9158}
    get_lake().write_record(EmbedCold(**record, share=0.03451, seconds=7.8))
    assert "texts encoded of 9,758, 400 cached, 9,158 left out, 3.5% of the day" in written().text


def drifted(name: str, psi: float | None, band: str) -> ColumnDrift:
    return sample_records.column_drift(name, psi, band, null_then=0.0125, null_now=0.5, mean_then=0.25)


def monitored(**fields: object) -> None:
    features = [drifted("<i>first</i>", 0.812, "shifted"), drifted("second", 0.15, "moved")]
    features += [drifted(f"calm_{n}", 0.01, "stable") for n in range(20)]
    usual = {
        "reference": ["2023-07-15", "2023-07-16"],
        "rows_then": 6000,
        "rows_now": 3000,
        "features": features,
        "label": drifted("label", 0.002, "stable"),
        "predictions": drifted("champion", None, "insufficient"),
    }
    drift = sample_records.drift(**usual | fields)
    record = sample_records.monitor(DAY, rows=3000, alerts=["look at <i>first</i>"], drift=drift)
    get_lake().write_record(record)


def test_drift_is_shown_largest_first_in_words_and_escaped(home: Path) -> None:
    monitored()
    text = " ".join(written().text.split())
    assert "look at <i>first</i>" in text, "text of the data is escaped"
    assert "<i>first</i> 0.812 shifted 0.2500 – 1.2% 50.0% second 0.150 moved" in text
    assert "champion's predictions – insufficient" in text
    assert "3,000 rows against the 6,000 of 2 days before, 2023-07-15 to 2023-07-16" in text
    assert "calm_12" in text
    assert "calm_13" not in text, "fifteen features are enough"


def test_too_few_rows_for_drift_are_told_in_words(home: Path) -> None:
    monitored(note="insufficient: 0 rows of the days before", reference=[])
    assert "Insufficient: 0 rows of the days before." in written().text


def test_a_day_that_was_not_monitored_has_a_page_all_the_same(evaluated: Path) -> None:
    assert "The day was not monitored" in written().text


def test_the_page_and_its_tables_are_kept_with_the_version(evaluated: Path) -> None:
    written()
    folder = registry.download(2).parent
    assert (folder / "report.html").exists()
    rows = list(csv.DictReader((folder / "cold_report_long.csv").open()))
    whole = next(r for r in rows if (r["by"], r["model"], r["metric"]) == ("all", "candidate", "auc"))
    assert json.loads((folder / "val_metrics.json").read_text())["auc"] == float(whole["value"])
    pivot = list(csv.reader((folder / "cold_report_pivot.csv").open()))
    assert pivot[0] == ["scene", "user_level", "item_zero", "item_few", "item_warm"]
    assert len(pivot) == 1 + 5 * 3


def test_a_failed_day_is_reported_from_quality_records_alone(home: Path) -> None:
    get_lake().write_record(quality("logs", False, "<b>7</b> values outside"))
    page = written()
    assert "Data quality failed in logs" in page.text
    assert "observed <b>7</b> values outside" in page.text, "text of the data is escaped"
    assert f"There is no record evaluation of {DAY}".replace(" ", "") in page.text.replace(" ", "")


def test_a_day_whose_log_never_came_says_so(home: Path) -> None:
    moment = "2023-07-18T00:00:00Z"
    get_lake().write_record(Wait(day=DAY, **dict.fromkeys(("since", "due", "until", "gave_up_at"), moment)))
    page = Page(report.render(report.gather(get_lake(), DAY)))
    assert "No log came" in page.text
    assert "Its run waited from 2023-07-18 00:00 UTC" in page.text
    assert "No decision" not in page.text


def test_a_day_of_which_nothing_is_known_still_has_a_page(home: Path) -> None:
    page = written()
    assert "No decision" in page.text
    assert "not run on this day" in page.text


def test_a_refused_candidate_says_who_refused_and_why(evaluated: Path) -> None:
    record = get_lake().record(Decision, DAY)
    refused = {"promoted": False, "decided_by": "ann", "refusal": "scene 3 looks wrong"}
    get_lake().write_record(record.model_copy(update=refused))
    assert "decided by ann (scene 3 looks wrong)" in " ".join(written().text.split())


def test_a_candidate_that_predicts_nan_is_shown_as_such(evaluated: Path) -> None:
    day = make_day(ROWS, 8)
    broken = model(day, 1)
    broken[0] = float("nan")
    sys.modules["training.learn.artifact"].predictions["good"] = broken
    evaluation.run(DAY, get_settings())
    gate.run(DAY, True, get_settings())
    assert "1 predictions of the candidate are not numbers" in written().text
