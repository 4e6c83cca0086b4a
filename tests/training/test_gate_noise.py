"""Seed noise is measured by training again, on the figures that the gate compares, and leaves no trace but where told to."""

import json
from pathlib import Path

import fabricate
import numpy as np
import pytest
from scored_days import SCENES, make_day, model
from typer.testing import CliRunner

from include import registry
from include.errors import InvalidInputError, MissingDataError, NothingToDoError
from include.settings import PROJECT, settings
from training import gate_noise, train
from training.__main__ import cli
from training.comparison import Comparison, cold_pools
from training.gate_figures import figures
from training.gate_noise import Figure, advice, compare
from training.gate_policy import load_policy
from training.gate_rules import Levels

LAST = fabricate.day(4)
ONE = Levels(0.05, 0.001)
SMALL = load_policy(PROJECT / "include/policies/gate-small.yaml")


@pytest.fixture
def ready(world, monkeypatch: pytest.MonkeyPatch):
    for name, value in (
        ("MODEL", "dnn"),
        ("BATCH_SIZE", "64"),
        ("GATE_POLICY", PROJECT / "include/policies/gate.yaml"),
    ):
        monkeypatch.setenv(f"CTR_{name}", str(value))
    settings.cache_clear()
    return world


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_figures_are_those_whose_change_the_gate_judges() -> None:
    day = make_day(6_000, 3)
    one, two = model(day, 1), model(day, 2)
    first, second = (figures(day.rows(scores), SMALL, SCENES) for scores in (one, two))
    rows = day.rows(one, two)
    pools = cold_pools(rows, SCENES, SMALL.cold_auc)
    comparison = Comparison(rows, SCENES, pools, 100, (1,))
    expected = {"scene mean gauc": comparison.scene_mean_gauc(ONE)}
    expected |= {pool.name: comparison.cold_auc(pool.name, ONE) for pool in pools}
    expected |= {f"gauc of scene {s}": comparison.scene_change("gauc", s, ONE) for s in ("1", "2")}
    expected |= {f"auc of scene {s}": comparison.scene_change("auc", s, ONE) for s in SCENES}
    for name, change in expected.items():
        assert first[name] - second[name] == pytest.approx(change.change, abs=1e-4), (
            name
        )  # resampled AUCs are of ranks in bins
    assert second["ece"] - first["ece"] == pytest.approx(comparison.ece(ONE).change, abs=1e-6)
    assert first["pcoc of scene 2"] == pytest.approx(comparison.pcoc("2", 0.95)[0], abs=1e-6)


def test_a_scene_with_too_few_users_or_clicks_has_no_figure() -> None:
    tiny = make_day(300, 3)
    found = figures(tiny.rows(model(tiny, 1)), SMALL, (*SCENES, "9"))
    assert not any(name.startswith("gauc of") or name.endswith("scene 9") for name in found)


def test_a_margin_is_wide_enough_from_1645_standard_deviations_of_the_difference_of_two_models_on() -> None:
    random = np.random.default_rng(0)
    seeds = random.normal(0.7, 0.01, 2000)
    figure = Figure.of("scene mean gauc", seeds.tolist(), SMALL)
    assert figure.needed == pytest.approx(1.645 * 2**0.5 * 0.01, rel=0.05)
    difference = random.permutation(seeds) - seeds
    assert np.mean(difference < -figure.needed) == pytest.approx(0.05, abs=0.015)
    assert figure.is_wider


def test_a_band_judges_one_model_and_overall_auc_has_no_margin() -> None:
    band = Figure.of("pcoc", [0.9, 1.0, 1.1], SMALL)
    assert band.needed == pytest.approx(1.645 * 0.1, rel=1e-3)
    assert band.margin == pytest.approx(0.15)
    assert band.is_wider is False
    assert Figure.of("auc", [0.7, 0.8], SMALL).is_wider is None


def test_the_advice_names_what_to_set_by_the_worst_figure_of_each_section() -> None:
    found = compare(
        [
            {"gauc of scene 1": 0.5, "gauc of scene 2": 0.5, "pcoc": 1.0},
            {"gauc of scene 1": 0.6, "gauc of scene 2": 0.7, "pcoc": 1.2},
        ],
        SMALL,
    )
    told = advice(found, 2)
    assert told[0].startswith(
        "Set scene_gauc.margin to at least 0.33 (it is 0.03): seed noise alone moves gauc of scene 2"
    )
    assert told[1].startswith("Set pcoc.low to at most 0.76 and pcoc.high to at least 1.24")
    assert "15.9 times" in told[-1]
    assert advice(compare([{"ece": 0.1}] * 2, SMALL), 2)[0] == "Every margin is wider than seed noise."


def test_other_seeds_are_trained_and_nothing_is_registered_or_written(ready) -> None:
    before = files(ready.home / "lake")
    result = gate_noise.run(LAST, settings(), seeds=2)
    assert files(ready.home / "lake") == before
    assert registry.versions() == []
    assert result["seeds"] == [18, 19]
    assert (result["trained_from"], result["trained_through"]) == (str(fabricate.day(0)), str(fabricate.day(3)))
    found = {figure["figure"]: figure for figure in result["figures"]}
    assert found["scene mean gauc"]["sd"] > 0
    assert found["scene mean gauc"]["largest"] == pytest.approx(found["scene mean gauc"]["sd"] * 2**0.5)
    assert gate_noise.run(LAST, settings(), seeds=2)["figures"] == result["figures"]


def test_a_candidate_that_continues_a_version_is_measured_from_it(ready) -> None:
    version = train.run(fabricate.day(3), settings())["version"]
    registry.promote(version, reason="test", by="test")
    result = gate_noise.run(LAST, settings(), seeds=2)
    candidate = train.run(LAST, settings())
    assert result["base_version"] == candidate["base_version"]
    assert result["trained_through"] == candidate["trained_through"]


def test_the_command_writes_the_section_into_the_policy_that_it_is_given(ready, tmp_path: Path) -> None:
    policy = tmp_path / "mine.yaml"
    policy.write_text((PROJECT / "include/policies/gate-small.yaml").read_text())
    command = ["gate-noise", "--day", str(LAST), "--seeds", "2", "--write", str(policy), "--json"]
    told = CliRunner().invoke(cli, command)
    result = json.loads(told.stdout)
    assert result["policy"] == "small days"
    noise = load_policy(policy).noise
    assert (noise.day, noise.seeds, noise.rows) == (LAST, [18, 19], result["rows"])
    assert set(noise.figures) == {figure["figure"] for figure in result["figures"]}


def test_the_table_names_figures_margins_and_what_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    found = compare([{"ece": 0.1, "auc": 0.7}, {"ece": 0.2, "auc": 0.7}], SMALL)
    lines = [vars(figure) | {"is_wider": figure.is_wider} for figure in found]
    gate_noise.show(
        {"day": LAST, "seeds": [1, 2], "rows": 9, "policy": "p", "figures": lines, "advice": advice(found, 2)}
    )
    printed = capsys.readouterr().out
    assert "Seed noise of the candidate of 2023-07-14 (2 seeds, 9 rows, policy 'p')" in printed
    assert "Set ece.margin to at least 0.17 (it is 0.01)" in printed


def test_a_policy_that_cannot_be_read_is_told_before_anything_is_trained(ready, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no gate policy"):
        gate_noise.run(LAST, settings(), seeds=2, policy=tmp_path / "none.yaml")


def test_a_day_without_rows_or_without_days_before_it_says_so(ready) -> None:
    with pytest.raises(MissingDataError, match="choose a later day"):
        gate_noise.run(fabricate.day(0), settings(), seeds=2)
    fabricate.publish_empty(ready.lake, ready.log, 5)
    with pytest.raises(NothingToDoError):
        gate_noise.run(fabricate.day(5), settings(), seeds=2)
