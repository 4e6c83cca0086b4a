"""The pages of models and days: what the registry, the records and the manifests say, as a person reads it."""

from dataclasses import asdict
from datetime import date

import pytest
from model_versions import model_version
from page_records import HOSTILE
from sample_records import decision, estimate, evaluated_champion, evaluation, group, monitor, train

from include.errors import MissingDataError
from include.lake.lake import report_path
from include.lake.manifest import Manifest, TableVersion
from include.metrics_records import Estimate, Figures
from include.records import Rule
from include.registry import registry
from plugins.pages import planner as planner_module
from plugins.pages.chart import HEIGHT, LEFT, chart
from plugins.pages.days import days_of
from plugins.pages.models import DayEstimate, model_of_day, models_of
from plugins.pages.planner import Plan, Planner

DAY = date(2023, 7, 17)


def decided(day, number, **more):
    rules = [Rule("lineage", "pass", "Trained before.", {})]
    promoted = {"promoted": True, "decided_by": "gate", "decided_at": "2023-07-18T02:00:00+00:00"}
    return decision(day, number, **{"reasons": ["because"], "rules": rules} | promoted | more)


def test_each_version_tells_what_became_of_it_and_why(lake, monkeypatch):
    back = {
        "rolled_back_at": "2023-07-20T09:00:00+00:00",
        "rolled_back_by": "admin",
        "rolled_back_reason": "complaints",
    }
    known = [
        model_version(4, promoted_at=None, verdict="hold"),
        model_version(3, **back),
        model_version(2, aliases=("champion",)),
        model_version(1),
    ]
    monkeypatch.setattr(registry, "versions", lambda: known)
    lake.write_record(decided(known[0].log_day, 4, verdict="hold", promoted=False, decided_by="timeout"))
    lake.write_record(decided(known[1].log_day, 99))
    found = models_of(lake, Plan.of(lake), 20, 60)
    assert [(version.version, version.state) for version in found.versions] == [
        (4, "not promoted, decided by timeout"),
        (3, "rolled back"),
        (2, "champion"),
        (1, "was champion"),
    ]
    assert [version.reasons for version in found.versions[:2]] == [["because"], []]
    assert (found.champion, found.rollback_to) == (2, 1)
    assert [version.version for version in models_of(lake, Plan.of(lake), 2, 60).versions] == [4, 3]


def test_a_pruned_predecessor_is_not_offered(lake, monkeypatch):
    known = [model_version(2, aliases=("champion",)), model_version(1, pruned_at="2023-09-01T00:00:00+00:00")]
    monkeypatch.setattr(registry, "versions", lambda: known)
    assert models_of(lake, Plan.of(lake), 20, 60).rollback_to is None


def test_figures_have_a_gap_on_days_without_a_champion(lake, monkeypatch):
    monkeypatch.setattr(registry, "versions", list)
    lake.write_record(monitor(DAY))
    figures = Figures(all={"auc": Estimate(value=0.79, low=0.78, high=0.8)}, scenes={})
    lake.write_record(monitor(DAY.replace(day=18), metrics=figures, metrics_note=None, alerts=["drifted"]))
    found = models_of(lake, Plan.of(lake), 20, 60)
    assert found.figures["auc"] == [
        DayEstimate(DAY, None, None, None),
        DayEstimate(DAY.replace(day=18), 0.79, 0.78, 0.8),
    ]
    assert (found.alerts_of, found.alerts) == (DAY.replace(day=18), ["drifted"])


def test_a_model_day_shows_every_rule_and_every_cell_in_order(lake, client):
    cells = [
        group("cell", scene="0", user_level=user, item_level=item, candidate={"auc": auc})
        for user, item, auc in (
            ("warm", "zero", estimate(0.7, 0.1)),
            ("zero", "warm", Estimate(value=None, note="too few clicks")),
        )
    ]
    lake.write_record(train(DAY, 3))
    lake.write_record(decided(DAY, 3, reasons=[HOSTILE[0]]))
    lake.write_record(evaluation(DAY, 3, groups=cells, champion=evaluated_champion(2)))
    found = model_of_day(lake, DAY)
    assert [(cell.user_level, cell.auc, cell.note) for cell in found.scenes["0"]] == [
        ("zero", None, "too few clicks"),
        ("warm", 0.7, None),
    ]
    page = client.get(f"/models/day?day={DAY}").text
    for text in ("Version 3", "against version 2", "0.700", "0.60 to 0.80", "Trained before.", "decided by"):
        assert text in page
    assert HOSTILE[0] not in page
    with pytest.raises(MissingDataError, match="has not trained a model"):
        model_of_day(lake, date(2024, 1, 1))


def test_a_candidate_without_usable_predictions_has_a_page_too(lake, client):
    unusable = group("cell", scene="0", user_level="zero", item_level="zero")
    lake.write_record(train(DAY, 3))
    lake.write_record(decided(DAY, 3, verdict="reject", promoted=False))
    lake.write_record(evaluation(DAY, 3, groups=[unusable]))
    page = client.get(f"/models/day?day={DAY}")
    assert (page.status_code, "its predictions are not usable" in page.text) == (200, True)


def test_a_retrained_version_does_not_show_the_previous_verdict(lake):
    lake.write_record(train(DAY, 5))
    lake.write_record(decided(DAY, 4))
    lake.write_record(evaluation(DAY, 4, champion=evaluated_champion(2)))
    found = model_of_day(lake, DAY)
    assert (found.version, found.champion, found.verdict, found.rules) == (5, None, None, [])


def test_a_version_keeps_its_evidence_when_its_day_is_run_again(lake, client, monkeypatch):
    known = [model_version(5, log_day=DAY), model_version(1, log_day=DAY)]
    monkeypatch.setattr(registry, "versions", lambda: known)
    for number, reason in ((1, "much better"), (5, "it is worse")):
        verdict = {"verdict": "promote" if number == 1 else "reject", "promoted": number == 1}
        lake.write_record(train(DAY, number))
        lake.write_record(decided(DAY, number, reasons=[reason], **verdict))
        lake.write_bytes(report_path(DAY, number), f"report of {number}".encode())
    lines = models_of(lake, Plan.of(lake), 20, 60).versions
    assert [(version.version, version.reasons, version.has_report) for version in lines] == [
        (5, ["it is worse"], True),
        (1, ["much better"], True),
    ]
    page = client.get(f"/models/day?day={DAY}&version=1").text
    assert "much better" in page
    assert "version 5" in page
    assert "much better" not in client.get(f"/models/day?day={DAY}").text
    assert client.get(f"/models/report?day={DAY}&version=1").text == "report of 1"
    assert client.get(f"/models/day?day={DAY}&version=7").status_code == 404


def test_an_outdated_champion_is_named_with_what_replaces_it(lake, client, monkeypatch):
    known = [model_version(2, aliases=("champion",), builds={DAY: "before"}), model_version(1)]
    monkeypatch.setattr(registry, "versions", lambda: known)
    table = TableVersion("p", 20, 1, "s")
    manifest = Manifest("training", str(DAY), "after", {"training": table}, 20, {}, "c", "s")
    lake.write_json(f"_manifests/training/dt={DAY}.json", asdict(manifest))
    found = models_of(lake, Plan.of(lake), 20, 60)
    assert [(version.version, version.outdated) for version in found.versions] == [(2, [DAY]), (1, [])]
    page = client.get("/models").text
    assert "The candidate of 2023-07-18 continues version 1 and trains on 1 day (20 rows)." in page
    assert "rows of 2023-07-17 were replaced since" in page


def test_a_version_without_a_decision_is_not_called_refused(lake, monkeypatch):
    monkeypatch.setattr(registry, "versions", lambda: [model_version(5, log_day=DAY, promoted_at=None)])
    lake.write_record(train(DAY, 5))
    assert [version.state for version in models_of(lake, Plan.of(lake), 20, 60).versions] == ["not judged yet"]
    lake.write_record(decision(DAY, 5, verdict="hold", reasons=[]))
    assert [version.state for version in models_of(lake, Plan.of(lake), 20, 60).versions] == ["not decided yet"]


def test_days_tell_what_is_published_and_what_is_missing(lake, session, run, client):
    table = TableVersion("p", 20, 1, "s")
    for number in (17, 19):
        day = DAY.replace(day=number)
        lake.write_json(
            f"_manifests/logs/dt={day}.json",
            vars(Manifest("logs", str(day), "b", {}, 20, {}, "c", "s")) | {"tables": {"logs": vars(table)}},
        )
    run(DAY.replace(day=18))
    found = days_of(lake, Planner(lake), session, None, 2)
    assert [row.day.day for row in found.days] == [19, 18]
    assert [row.counts["logs"] for row in found.days] == [20, None]
    assert [row.run.state if row.run else None for row in found.days] == [None, "failed"]
    gap = {step.stage: step.reasons for step in found.days[1].redo}
    assert gap["logs"] == ["a gap: it has no raw log"]
    assert (found.older, len(found.plan)) == (True, 3)
    page = client.get("/days?days=2").text
    assert "a gap: it has no raw log" in page
    assert "until=2023-07-17" in page


def test_the_plan_is_kept_longer_the_longer_it_takes_to_make(lake, monkeypatch):
    clock, made = [0.0], []

    def slow_plan(_):
        made.append(clock[0])
        clock[0] += 3.0
        return []

    monkeypatch.setattr(planner_module, "plan", slow_plan)
    monkeypatch.setattr(planner_module.time, "monotonic", lambda: clock[0])
    planner = Planner(lake)
    for moment in (0.0, 30.0, 59.0, 61.0):
        clock[0] = moment
        planner.plan()
    assert made == [0.0, 61.0]


def points(*values):
    return [DayEstimate(DAY.replace(day=10 + n), *bounds) for n, bounds in enumerate(values)]


def test_a_chart_draws_only_numbers_and_breaks_at_gaps():
    drawn = chart(points((1, 0, 2), (None, None, None), (3, 2, 4), (2, 1, 3)))
    assert len(drawn.dots) == 3
    assert [len(line.split()) for line in drawn.line] == [2]
    assert drawn.dots[0].x == LEFT
    assert drawn.dots[1].y < drawn.dots[2].y < drawn.dots[0].y < HEIGHT
    assert chart(points((1, None, None), (None, None, None))) is None


def test_a_chart_places_days_by_their_date():
    days = [DayEstimate(DAY.replace(day=n), 1, None, None) for n in (1, 2, 21)]
    first, second, last = (dot.x for dot in chart(days).dots)
    assert (second - first) * 19 == pytest.approx(last - second, rel=0.01)


def test_a_chart_of_equal_numbers_is_drawn_too():
    drawn = chart(points((0, None, None), (0, None, None)))
    assert drawn.dots[0].y == drawn.dots[1].y


def test_a_damaged_record_costs_the_pages_its_own_line_only(lake, client, monkeypatch):
    known = [model_version(2, log_day=DAY), model_version(1, log_day=date(2023, 7, 16))]
    monkeypatch.setattr(registry, "versions", lambda: known)
    for version in known:
        lake.write_record(decided(version.log_day, version.version))
        lake.write_record(monitor(version.log_day))
    for kind in ("decision", "monitor", "quality/logs"):
        lake.write_bytes(f"_records/{kind}/dt={DAY}.json", b"{")
    for page in ("/models", "/days", "/quality", f"/quality/day?day={DAY}"):
        answer = client.get(page)
        assert answer.status_code == 200, page
        if page != "/quality":
            assert f"dt={DAY}.json is not JSON" in answer.text, page
    assert [version["reasons"] for version in client.get("/api/models").json()["versions"]] == [["because"]] * 2
    refused = client.get(f"/api/models/day?day={DAY}")
    assert (refused.status_code, "is not JSON" in refused.json()["detail"]) == (500, True)
