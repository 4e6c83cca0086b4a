"""Every model variant trains, is the same on a rerun, survives a save, and reads no more than it declares."""

from dataclasses import replace
from typing import get_args

import fabricate
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from include.errors import InvalidInputError
from include.lake.lake import Lake
from include.records import Train
from include.registry import registry
from training.__main__ import cli
from training.data.id_memory import WarmIndex
from training.data.item_texts import ItemTexts
from training.data.rows import Rows, build_rows
from training.embed import embed_cold, embed_texts
from training.learn import train, warm_start
from training.learn.artifact import load, save, text_keys
from training.model_variants import MODEL_VARIANTS, BackboneName, model_variant
from training.models.dnn import Dnn
from training.models.mmoe import Mmoe
from training.models.network import Network, Output, by_scene
from training.models.pepnet import PepNet
from training.models.ple import Ple
from training.models.star import PartitionedNorm, Star
from training.tables import read_day

LAST = fabricate.day(4)
BLIND = [name for name, variant in MODEL_VARIANTS.items() if not variant.text]
BACKBONES = {
    "dnn": lambda: Dnn(6, 3, dim=8),
    "mmoe": lambda: Mmoe(6, 3, experts=4, dim=8),
    "ple": lambda: Ple(6, 3, levels=3, shared=1, own=2, dim=8),
    "star": lambda: Star(6, 3, dim=8),
    "pepnet": lambda: PepNet(6, 3, ids=2, dim=8),
}


def test_every_backbone_is_tested():
    assert set(BACKBONES) == set(get_args(BackboneName))


def settings_of(world, name: str):
    return world.settings.model_copy(update={"model": name})


@pytest.fixture(scope="module")
def fitted(made):
    """A model of each variant, trained on the first two days when it is first asked for."""
    trained: dict[str, train.Trained] = {}

    def of(name: str) -> train.Trained:
        if name not in trained:
            trained[name] = train.fit(made.lake, [fabricate.day(0), fabricate.day(1)], settings_of(made, name), None)
        return trained[name]

    return of


@pytest.fixture(scope="module")
def day(made):
    return read_day(made.lake, "training", fabricate.day(2), "a test")


def outputs(model: Network, rows: Rows, texts) -> Output:
    batch = rows.take(by_scene(rows.scene))
    return model(batch, texts)


@pytest.mark.parametrize("name", MODEL_VARIANTS)
def test_a_variant_learns(fitted, name):
    first, second = fitted(name).curve
    assert second.train_loss < first.train_loss
    assert second.log_loss < first.log_loss


@pytest.mark.parametrize("name", MODEL_VARIANTS)
def test_a_variant_gives_the_same_bytes_again_and_after_a_save(made, fitted, day, tmp_path, name):
    one = fitted(name).predictor
    again = train.fit(made.lake, [fabricate.day(0), fabricate.day(1)], settings_of(made, name), None).predictor
    assert save(tmp_path / "one", one, {}) == save(tmp_path / "two", again, {})
    loaded = load(tmp_path / "one")
    assert loaded.state.config == one.state.config
    assert loaded.state.config.model == name
    assert np.array_equal(loaded.predict(day, made.lake).probability, one.predict(day, made.lake).probability)


@pytest.mark.parametrize("name", MODEL_VARIANTS)
def test_a_variant_goes_on_from_itself(made, fitted, name):
    extended_state = train.fit(made.lake, [fabricate.day(2)], settings_of(made, name), fitted(name).predictor)
    assert len(extended_state.predictor.state.users) > len(fitted(name).predictor.state.users)
    assert np.isfinite(extended_state.curve[0].train_loss)


@pytest.mark.parametrize("name", MODEL_VARIANTS)
def test_text_has_a_say_only_where_there_is_a_content_tower(made, fitted, day, name):
    outputs = fitted(name).predictor.predict(day, made.lake)
    if MODEL_VARIANTS[name].content:
        assert ((outputs.alpha > 0) & (outputs.alpha < 1)).all()
        assert not np.array_equal(outputs.content, outputs.backbone)
    else:
        assert not outputs.alpha.any()
        assert np.array_equal(outputs.content, outputs.backbone)


@pytest.mark.parametrize("name", MODEL_VARIANTS)
def test_missing_text_vectors_change_only_variants_reading_text(made, fitted, day, tmp_path, name):
    model, empty = fitted(name).predictor, Lake(f"file://{tmp_path}")
    same = np.array_equal(model.predict(day, made.lake).probability, model.predict(day, empty).probability)
    assert same == (name in BLIND)
    assert (model.predict(day, empty).missing_texts == 0) == (name in BLIND)


@pytest.mark.parametrize("name", MODEL_VARIANTS)
def test_only_the_full_variant_uses_the_llm_and_neighbours(made, monkeypatch, day, name):
    searched, slugs = [], []
    search, look = WarmIndex.search, train.VectorCache.lookup
    monkeypatch.setattr(WarmIndex, "search", lambda *arguments: searched.append(1) or search(*arguments))
    monkeypatch.setattr(
        train.VectorCache, "lookup", lambda *arguments: slugs.append(arguments[0].slug) or look(*arguments)
    )
    train.fit(made.lake, [fabricate.day(0)], settings_of(made, name), None).predictor.predict(day, made.lake)
    assert bool(searched) == MODEL_VARIANTS[name].llm
    assert set(slugs) == {
        slug
        for slug, read in ((fabricate.ENCODER, MODEL_VARIANTS[name].text), (fabricate.LLM, MODEL_VARIANTS[name].llm))
        if read
    }


@pytest.mark.parametrize("name", BLIND)
def test_a_variant_without_text_keeps_nothing_of_texts(fitted, name):
    state = fitted(name).predictor.state
    assert (state.config.encoder, state.config.llm) == ("", "")
    assert (
        state.whiten_text.dim
        == state.whiten_llm.dim
        == state.memory.texts.shape[1]
        == state.memory.tastes.shape[1]
        == 0
    )


def test_a_variant_without_text_trains_without_embedded_texts(world):
    world.lake.fs.rm(f"{world.lake.root}/embeddings", recursive=True)
    assert train.run(LAST, settings_of(world, "dnn")).model == "dnn"


@pytest.mark.parametrize("build", BACKBONES.values(), ids=BACKBONES)
@pytest.mark.parametrize("training", [True, False])
def test_rows_do_not_depend_on_other_scenes_in_the_batch(build, training):
    def logit(rows, sizes):
        torch.manual_seed(0)
        return build().train(training)(rows, sizes)

    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(logit(x, [3, 4, 2])[3:7], logit(x[3:7], [0, 4, 0]), atol=1e-5)


@pytest.mark.parametrize("build", BACKBONES.values(), ids=BACKBONES)
def test_a_backbone_is_told_the_scene(build):
    torch.manual_seed(0)
    model, x = build().eval(), torch.randn(4, 6)
    for weight in model.parameters():
        torch.nn.init.normal_(weight)
    assert not torch.allclose(model(x, [4, 0, 0]), model(x, [0, 0, 4]))


@pytest.mark.parametrize("build", BACKBONES.values(), ids=BACKBONES)
def test_a_batch_of_one_row_is_learned_from_too(build):
    model = build()
    logit = model(torch.randn(1, 6), [0, 1, 0])
    assert logit.shape == (1,)
    logit.sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


def test_partitioned_normalisation_uses_each_scenes_statistics():
    torch.manual_seed(0)
    norm, x = PartitionedNorm(2, 2), torch.cat([torch.randn(500, 2) * 3 + 5, torch.randn(500, 2) - 2])
    for _ in range(30):
        norm(x, [500, 500])
    out = norm.eval()(x, [500, 500])
    for part in out.split(500):
        assert torch.allclose(part.mean(0), torch.zeros(2), atol=0.05)
        assert torch.allclose(part.std(0), torch.ones(2), atol=0.05)


def test_a_star_scene_starts_as_the_shared_one():
    torch.manual_seed(0)
    layer, x = Star(6, 2, dim=8).layers[0], torch.randn(4, 6)
    assert torch.equal(layer(x, [4, 0]), layer(x, [0, 4]))
    assert torch.allclose(layer(x, [4, 0]), layer.shared(x), atol=1e-6)


def test_pepnets_gates_do_not_move_the_inputs_that_they_see():
    torch.manual_seed(0)
    model, x = PepNet(6, 2, ids=2, dim=8), torch.randn(4, 6, requires_grad=True)
    torch.nn.init.zeros_(model.layers[0][0].weight)  # the other way from the inputs to the logit
    for gate in (model.scene_gate, *model.gates):
        torch.nn.init.normal_(gate.net[2].weight)
    model(x, [2, 2]).sum().backward()
    assert x.grad[:, :2].any()
    assert not x.grad[:, 2:].any()


def test_an_unknown_name_lists_the_names(world):
    with pytest.raises(InvalidInputError, match=r"no model 'plee' .*dnn, mmoe.*ple-alpha-llm"):
        train.run(LAST, settings_of(world, "plee"))


def test_a_promoted_version_of_another_variant_is_not_continued(world, caplog):
    fabricate.publish_empty(world.lake, world.log, -5)
    first = train.run(fabricate.day(2), settings_of(world, "mmoe"))
    registry.promote(first.version, reason="test", by="test")
    same = warm_start.start_of(world.lake, LAST, settings_of(world, "mmoe"), scratch=False)
    assert same.version.version == first.version
    other = warm_start.start_of(world.lake, LAST, settings_of(world, "dnn"), scratch=False)
    assert (other.version, len(other.days)) == (None, 4)
    printed = caplog.text
    assert "version 1 was trained with model mmoe, and the settings now say dnn." in printed


def test_a_model_is_not_continued_as_another(made, fitted):
    with pytest.raises(InvalidInputError, match="'dnn' cannot be continued as 'mmoe'"):
        train.fit(made.lake, [fabricate.day(2)], settings_of(made, "mmoe"), fitted("dnn").predictor)


def test_the_command_line_names_the_variant(world):
    assert CliRunner().invoke(cli, ["train", "--day", str(LAST), "--model", "dnn"]).exit_code == 0
    version = registry.versions()[0]
    assert load(registry.download(version.version)).state.config.variant == model_variant("dnn")
    assert world.lake.record(Train, LAST).model == "dnn"


def test_texts_are_embedded_for_the_new_model_and_the_champion(world, monkeypatch):
    day_counts = []
    monkeypatch.setattr(embed_texts, "distinct_texts", lambda lake, days, why: day_counts.append(len(days)) or NO_TEXTS)
    monkeypatch.setattr(embed_cold, "cold_texts", lambda lake, days: day_counts.append(len(days)) or NO_COLD)
    settings = settings_of(world, "dnn")

    def days_read() -> list[int]:
        day_counts.clear()
        embed_texts.run(LAST, settings)
        embed_cold.run(LAST, settings)
        return list(day_counts)

    assert days_read() == [0, 0]
    for name, expected in (("ple-text", [5, 0]), ("ple-alpha-llm", [5, 3])):
        record = train.run(fabricate.day(1), settings_of(world, name))
        registry.promote(record.version, reason="test", by="test")
        assert days_read() == expected


NO_TEXTS = embed_texts.Texts(np.empty(0, np.int64), [])
NO_COLD = embed_cold.ColdTexts(np.empty(0, np.int64), np.empty(0, object))


def test_neighbours_are_known_to_the_full_variant_alone(made, fitted, day):
    for name in ("ple-alpha", "ple-alpha-llm"):
        predictor = fitted(name).predictor
        texts = train.load_texts(predictor.state, text_keys(day, MODEL_VARIANTS[name]), made.lake, None)
        members = predictor.state.topics.of(texts)
        item_texts = ItemTexts.of([day], predictor.state, texts)
        rows = build_rows(day, predictor.state, texts, item_texts, members)
        lookup = train.text_lookup(texts, "cpu")
        other = replace(
            rows, neighbour_stats=torch.randn_like(rows.neighbour_stats), weights=torch.rand_like(rows.weights)
        )
        before, after = (outputs(predictor.model, inputs, lookup).logit for inputs in (rows, other))
        assert torch.equal(before, after) == (not MODEL_VARIANTS[name].llm)
