from dataclasses import replace

import numpy as np
import pytest
import torch
from fabricate import arrow, training_frame

from training.data.cold_simulation import ColdSimulation
from training.data.dense import logit
from training.data.item_texts import ItemTexts
from training.data.rows import NEUTRAL_PRIOR, Rows, build_rows, with_prior
from training.learn.artifact import load_texts, text_lookup
from training.models.layers import NORM_CLIP, ExpertBank, InputNorm, PerScene
from training.models.network import Network, by_scene
from training.text.text_table import keys_in


@pytest.fixture(scope="module")
def rows_and_texts(made, trained):
    table = arrow(training_frame(made.log, 4))
    texts = load_texts(trained.predictor.state, keys_in(table), made.lake, None)
    state = trained.predictor.state
    members = state.topics.of(texts)
    rows = build_rows(table, state, texts, ItemTexts.of([table], state, texts), members)
    return rows, text_lookup(texts, "cpu")


@pytest.fixture
def model(trained) -> Network:
    return trained.predictor.model


def test_experts_are_normalised():
    hidden = ExpertBank(4, 3, 16).norm(torch.randn(2, 3, 16) * 100)
    assert torch.allclose(hidden.std(-1, unbiased=False), torch.ones(2, 3), atol=1e-2)


def test_inputs_are_normalised_and_constant_ones_say_nothing():
    torch.manual_seed(0)
    norm = InputNorm(3)
    x = torch.cat([torch.randn(4000, 2) * torch.tensor([100.0, 0.01]) + 5, torch.ones(4000, 1)], dim=1)
    for step in x.split(100):
        seen = norm(step)
    assert torch.allclose(seen[:, :2].std(0, unbiased=False), torch.ones(2), atol=0.1)
    predicted = norm.eval()(x)
    assert torch.allclose(predicted[:, :2].mean(0), torch.zeros(2), atol=0.1)
    assert torch.allclose(predicted[:, :2].std(0), torch.ones(2), atol=0.1)
    assert norm(torch.tensor([[1e9, 5.0, 7.0]]))[0].tolist() == pytest.approx([NORM_CLIP, 0.0, 0.0], abs=0.2)


def test_a_step_of_one_row_can_be_normalised():
    norm = InputNorm(2)
    norm(torch.randn(50, 2))
    assert torch.isfinite(norm.train()(torch.randn(1, 2))).all()


def test_first_day_rows_are_learned_against_their_own_ctrs(rows_and_texts, trained):
    rows, config = rows_and_texts[0], trained.predictor.state.config
    first = with_prior(replace(rows, prior=torch.full_like(rows.prior, NEUTRAL_PRIOR)), config)
    for scene in range(len(config.scenes)):
        of = rows.scene == scene
        clicks, impressions = float(rows.label[of].sum()), int(of.sum())
        rate = (clicks + config.ctr_smoothing * float(rows.label.mean())) / (impressions + config.ctr_smoothing)
        assert torch.allclose(first.prior[of], torch.tensor(float(logit(np.array(rate)))))
    assert with_prior(rows, config) is rows


def test_per_scene_keeps_the_order_of_rows():
    copies = [torch.nn.Linear(1, 1, bias=False) for _ in range(3)]
    for scene, copy in enumerate(copies):
        torch.nn.init.constant_(copy.weight, float(scene + 1))
    assert PerScene(copies)(torch.ones(4, 1), [1, 0, 3]).flatten().tolist() == [1, 3, 3, 3]


def test_the_logit_mixes_backbone_and_content_by_alpha(model, rows_and_texts):
    rows, texts = rows_and_texts
    batch = rows.take(by_scene(rows.scene))
    out = model(batch, texts)
    assert torch.allclose(out.logit, (1 - out.alpha) * out.backbone + out.alpha * out.content)
    assert ((out.alpha > 0) & (out.alpha < 1)).all()


def test_the_content_side_sees_no_id_and_no_history(model, rows_and_texts):
    rows, texts = rows_and_texts
    batch = rows.take(by_scene(rows.scene))
    other = replace(
        batch,
        user=torch.zeros_like(batch.user),
        item=torch.zeros_like(batch.item),
        dense=torch.randn_like(batch.dense),
        id_lift=torch.randn_like(batch.id_lift),
        mean_deep_features=torch.randn_like(batch.mean_deep_features),
        topic_affinity=torch.randn_like(batch.topic_affinity),
    )
    before, after = model(batch, texts), model(other, texts)
    assert torch.equal(before.content, after.content)
    assert not torch.equal(before.backbone, after.backbone)


def test_a_cold_item_counts_by_its_neighbours_not_its_embedding(model, rows_and_texts):
    rows, texts = rows_and_texts
    warm = (rows.weights.sum(1) > 0) & (rows.item > 0)
    warm_rows = rows.take(warm.nonzero().flatten())
    batch = warm_rows.take(by_scene(warm_rows.scene))
    cold = replace(batch, item_cold=torch.ones_like(batch.item_cold))
    renamed = replace(cold, item=torch.ones_like(cold.item))
    alone = replace(cold, weights=torch.zeros_like(cold.weights))
    outputs = [model(inputs, texts).logit for inputs in (cold, renamed, alone)]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_llm_vectors_are_masked_for_warm_items_and_users(rows_and_texts):
    rows, texts = rows_and_texts
    text_inputs = texts(rows)
    assert not text_inputs.llm_mask[:, 0][rows.item_level == 2].any()
    assert not text_inputs.llm_mask[:, 1][rows.user_level == 2].any()
    assert text_inputs.llm_mask[:, 0][rows.item_level == 0].all()
    assert not text_inputs.llm[text_inputs.llm_mask == 0].any()


def test_simulated_cold_rows_lose_their_history_and_nothing_else(trained, rows_and_texts):
    rows, _ = rows_and_texts
    cold = ColdSimulation(trained.predictor.state.standardiser, 0.0, 1.0)(rows, torch.rand(4, len(rows)))
    assert cold.item_cold.all()
    assert (cold.item_level == 0).all()
    assert not cold.id_lift[:, 0].any()
    assert torch.equal(cold.id_lift[:, 1], rows.id_lift[:, 1])
    assert torch.equal(cold.user_level, rows.user_level)
    never = ColdSimulation(trained.predictor.state.standardiser, 0.0, 0.0)(rows, torch.rand(4, len(rows)))
    assert torch.equal(never.dense, rows.dense)


def test_taking_rows_takes_every_field(rows_and_texts):
    rows, _ = rows_and_texts
    taken: Rows = rows.take(torch.tensor([3, 1]))
    assert len(taken) == 2
    assert torch.equal(taken.dense[0], rows.dense[3])
