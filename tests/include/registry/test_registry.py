"""The registry keeps one champion and a history that reruns, rollbacks and concurrent runs cannot break."""

import json
import multiprocessing
import shutil
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest
from model_versions import FIRST_LOG_DAY, model_version
from sample_records import decision
from typer.testing import CliRunner

from include.cli.app import cli
from include.errors import InvalidInputError, MissingDataError
from include.lake.lake import get_lake
from include.orchestration.decision import apply_decision, record_refusal
from include.registry import registry
from include.registry.model_version import ModelVersion
from include.settings import get_settings

DAY = date(2023, 7, 17)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def register(home: Path, *, day: int = 17, content: str = "a", base: int | None = None) -> ModelVersion:
    folder = home / f"built-{day}-{content}"
    folder.mkdir(exist_ok=True)
    (folder / "weights.safetensors").write_text(content)
    return registry.register(
        folder,
        log_day=date(2023, 7, day),
        trained_from=date(2023, 7, 1),
        trained_through=date(2023, 7, day - 1),
        base_version=base,
        builds={},
        content_hash=content,
        metrics={"train.loss": 0.25},
        params={"rows": "100"},
    )


def promote(version: ModelVersion) -> ModelVersion:
    return registry.promote(version.version, reason="better", by="gate")


def test_an_empty_registry_has_no_versions_and_makes_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    assert registry.versions() == []
    assert registry.champion() is None
    assert not (tmp_path / "mlflow.db").exists()
    get_settings.cache_clear()


def test_a_copied_home_reads_and_writes_its_own_artifacts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = register(home)
    copy = home.parent / "copy"
    shutil.copytree(home, copy)
    monkeypatch.setenv("CTR_HOME", str(copy))
    get_settings.cache_clear()
    shutil.rmtree(home / "mlflow")
    assert (registry.download(first.version) / "weights.safetensors").read_text() == "a"
    second = register(copy, day=18, content="b")
    assert not (home / "mlflow").exists()
    assert len(list((copy / "mlflow").rglob("weights.safetensors"))) == 2
    assert second.version == first.version + 1


def test_a_registered_version_has_its_tags_and_readable_files(home: Path) -> None:
    version = register(home, base=None)
    assert version.aliases == ("candidate",)
    assert (version.log_day, version.trained_through, version.content_hash) == (DAY, date(2023, 7, 16), "a")
    assert (registry.download(version.version) / "weights.safetensors").read_text() == "a"
    assert registry.metrics(version.version) == {"train.loss": 0.25}


def test_registering_the_same_day_and_content_reuses_the_version(home: Path) -> None:
    first = register(home)
    register(home, day=18)
    again = register(home)
    assert again.version == first.version
    assert again.aliases == ("candidate",)
    assert len(registry.versions()) == 2


def test_promotion_moves_the_champion_and_can_be_repeated(home: Path) -> None:
    """Repeating it changes nothing, not even who promoted the version and why."""
    first = promote(register(home))
    second = promote(register(home, day=18, base=first.version))
    assert registry.champion() == second
    assert registry.promote(second.version, reason="again", by="other") == second
    assert (second.promoted_by, second.promoted_reason) == ("gate", "better")


def test_a_decision_against_an_older_champion_is_out_of_date(home: Path) -> None:
    first, second, third = (register(home, day=day) for day in (17, 18, 19))
    promote(first)
    promote(second)
    with pytest.raises(InvalidInputError, match="champion is 2 by now"):
        registry.promote(third.version, reason="better", by="gate", replacing=first.version)
    assert registry.champion().version == second.version


def test_a_run_starts_from_a_promotion_of_an_earlier_log_day(home: Path) -> None:
    for day in (17, 18, 19):
        promote(register(home, day=day))
    register(home, day=20)
    assert registry.promoted_before(date(2023, 7, 17), registry.versions()) == []
    assert registry.promoted_before(date(2023, 7, 19), registry.versions())[0].log_day == date(2023, 7, 18)
    assert registry.promoted_before(date(2023, 7, 21), registry.versions())[0].log_day == date(2023, 7, 19)


def test_rollback_restores_the_previous_champion(home: Path) -> None:
    """Later runs skip the version that was rolled back."""
    first, second = promote(register(home)), promote(register(home, day=18))
    assert registry.rollback(reason="wrong scores", by="ann").version == first.version
    assert registry.champion().version == first.version
    assert registry.get(second.version).rolled_back_at is not None
    assert registry.promoted_before(date(2023, 7, 30), registry.versions())[0].version == first.version
    with pytest.raises(MissingDataError, match="no earlier champion"):
        registry.rollback()


def test_rollback_to_a_version_takes_back_all_later_promotions(home: Path) -> None:
    promoted = [promote(register(home, day=day)) for day in (17, 18, 19)]
    registry.rollback(promoted[0].version)
    assert registry.promoted_before(date(2023, 7, 30), registry.versions())[0].version == promoted[0].version
    assert registry.rollback(promoted[2].version).version == promoted[2].version, "and forward again"
    never = register(home, day=20)
    with pytest.raises(InvalidInputError, match="never promoted"):
        registry.rollback(never.version)


def test_an_unknown_version_is_named_in_the_error(home: Path) -> None:
    with pytest.raises(MissingDataError, match="no version 7"):
        registry.get(7)


def test_artifacts_and_metrics_are_added_beside_the_model(home: Path) -> None:
    version = register(home).version
    report = home / "report"
    report.mkdir()
    (report / "report.html").write_text("<html>")
    registry.log_artifacts(version, report)
    registry.log_metrics(version, {"auc": 0.7, "pcoc": float("nan")})
    registry.set_verdict(version, "hold")
    assert (registry.download(version).parent / "report.html").exists()
    assert registry.metrics(version)["auc"] == 0.7
    assert "pcoc" not in registry.metrics(version)
    assert registry.get(version).verdict == "hold"


def decide(candidate: ModelVersion, verdict: str = "promote", *, may_promote: bool = True) -> None:
    champion = registry.champion()
    get_lake().write_record(
        decision(
            DAY,
            candidate.version,
            verdict=verdict,
            reasons=["because"],
            champion=champion.version if champion else None,
            may_promote=may_promote,
        )
    )


def test_applying_a_decision_promotes_once_and_says_who_decided(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.orchestration.decision.verify", lambda version: None)  # these versions are no models
    first = promote(register(home, day=16))
    candidate = register(home)
    decide(candidate, "hold")
    record = apply_decision(DAY, "ann")
    assert (record.promoted, record.decided_by) == (True, "ann")
    assert registry.champion().version == candidate.version
    registry.rollback()
    apply_decision(DAY, "gate")
    assert registry.champion().version == first.version, "a rerun does not undo a rollback"


@pytest.mark.parametrize(("verdict", "may_promote"), [("reject", True), ("promote", False)])
def test_a_rejected_or_backfilled_candidate_is_never_applied(home: Path, verdict: str, may_promote: bool) -> None:
    decide(register(home), verdict, may_promote=may_promote)
    with pytest.raises(InvalidInputError):
        apply_decision(DAY, "gate")
    assert registry.champion() is None


def test_a_refusal_is_recorded_with_its_reason(home: Path) -> None:
    decide(register(home), "hold")
    record = record_refusal(DAY, "ann", "scene 3 looks wrong")
    assert (record.promoted, record.decided_by, record.refusal) == (False, "ann", "scene 3 looks wrong")
    assert registry.champion() is None


def register_and_promote(home: Path, number: int) -> None:
    promote(register(home, day=2 + number, content=str(number)))


def test_many_processes_leave_one_champion_and_the_whole_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They register and promote at once on a fresh database."""
    monkeypatch.setenv("CTR_HOME", str(tmp_path))
    get_settings.cache_clear()
    forks = multiprocessing.get_context("fork")
    workers = [forks.Process(target=register_and_promote, args=(tmp_path, number)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 6
    known = registry.versions()
    assert sorted(version.version for version in known) == [1, 2, 3, 4, 5, 6]
    assert all(version.promoted_at for version in known)
    champions = [version for version in known if "champion" in version.aliases]
    assert len(champions) == 1
    assert champions[0].promoted_at == max(version.promoted_at for version in known)
    get_settings.cache_clear()


def test_pruning_keeps_what_serves_or_a_rollback_needs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other old versions lose their files and stay listed."""
    monkeypatch.setenv("CTR_KEEP_VERSIONS", "2")
    get_settings.cache_clear()
    made = [register(home, day=day, content=str(day), base=1 if day == 14 else None) for day in range(11, 18)]
    for version in made[2:4]:
        promote(version)
    assert registry.prune() == [made[4].version, made[1].version]
    assert registry.prune() == []
    assert registry.champion() == registry.get(made[3].version)
    for kept in (made[0], made[2], made[3], made[5], made[6]):
        assert (registry.download(kept.version) / "weights.safetensors").read_text() == kept.content_hash
    with pytest.raises(registry.PrunedError, match=r"was deleted on .*CTR_KEEP_VERSIONS=2"):
        registry.download(made[4].version)
    assert registry.rollback().version == made[2].version
    assert [version.version for version in registry.versions()] == [version.version for version in reversed(made)]


def test_rollback_to_a_pruned_version_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its day can be trained again, as a new version."""
    monkeypatch.setenv("CTR_KEEP_VERSIONS", "2")
    get_settings.cache_clear()
    made = [promote(register(home, day=day, content=str(day))) for day in range(11, 16)]
    assert registry.prune() == [3, 2], "the first one is the anchor of the next nights"
    with pytest.raises(registry.PrunedError):
        registry.rollback(made[1].version)
    assert registry.champion() == registry.get(made[-1].version)
    assert register(home, day=12, content="12").version == 6


def test_the_anchor_is_an_old_champion_kept_for_14_nights() -> None:
    """It is the champion of 14 to 27 nights before, or the first one where none is that old."""
    known = [model_version(number) for number in range(1, 61)]
    anchors = {day: registry.anchor(day, known) for day in (FIRST_LOG_DAY + timedelta(days=n) for n in range(60))}
    ages = {(day - version.log_day).days for day, version in anchors.items() if version and version.version > 1}
    assert ages == set(range(14, 28))
    taken = Counter(version.version for version in anchors.values() if version)
    assert set(list(taken.values())[1:-1]) == {14}
    assert registry.anchor(FIRST_LOG_DAY, known) is None
    assert registry.anchor(FIRST_LOG_DAY + timedelta(days=3), known).version == 1, "the first one, where none is so old"


def test_a_version_that_was_taken_back_or_pruned_is_no_anchor() -> None:
    day = FIRST_LOG_DAY + timedelta(days=3)
    known = [model_version(1, pruned_at="2023-08-01"), model_version(2, rolled_back_at="2023-08-01"), model_version(3)]
    assert registry.anchor(day, known).version == 3


def test_a_second_rollback_to_a_version_without_files_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTR_KEEP_VERSIONS", "2")
    get_settings.cache_clear()
    made = [promote(register(home, day=day, content=str(day))) for day in range(11, 15)]
    registry.prune()
    second = registry.rollback()
    assert second.version == made[2].version
    with pytest.raises(registry.PrunedError):
        registry.rollback()
    assert registry.champion() == second


def test_a_person_who_overrules_the_gate_is_told_what_it_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[date] = []
    monkeypatch.setattr("include.orchestration.training_process.verify", lambda version: None)
    monkeypatch.setattr("include.orchestration.training_process.write_report", written.append)
    version = register(home)
    get_lake().write_record(decision(DAY, version.version, verdict="reject", reasons=["AUC of scene 3 is worse."]))
    told = CliRunner().invoke(cli, ["promote", str(version.version)])
    assert told.exit_code == 0, told.output
    assert "verdict on version 1 is reject, which this overrules" in told.stderr
    assert "- AUC of scene 3 is worse." in told.stderr
    assert written == [DAY]


def test_promoting_a_version_again_clears_its_rollback(home: Path) -> None:
    first, second = (promote(register(home, day=day, content=str(day))) for day in (16, 17))
    registry.rollback(reason="complaints", by="someone")
    taken_back = registry.get(second.version)
    assert (taken_back.rolled_back_by, taken_back.rolled_back_reason) == ("someone", "complaints")
    again = promote(second)
    assert (again.rolled_back_at, again.rolled_back_by, again.rolled_back_reason) == (None, None, None)
    assert registry.get(first.version).in_history


def test_the_command_names_what_each_version_started_from(home: Path) -> None:
    register(home, day=16)
    register(home, content="b", base=1)
    rows = json.loads(CliRunner().invoke(cli, ["models", "--json"]).stdout)
    assert [(row["version"], row["base_version"]) for row in rows] == [(2, 1), (1, None)]
    assert "from" in CliRunner().invoke(cli, ["models"]).stdout
