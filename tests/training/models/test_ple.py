"""PLE against the paper, row by row: every scene's way and the shared way of one row, with nothing left out."""

from itertools import chain

import pytest
import torch
from torch import Tensor

from training.models.layers import ExpertBank
from training.models.ple import FirstLevel, LastLevel, MiddleLevel, Ple

INPUTS, SCENES, SHARED, OWN, DIM = 6, 3, 2, 2, 8


def ple(levels: int = 2) -> Ple:
    torch.manual_seed(0)
    return Ple(INPUTS, SCENES, levels=levels, shared=SHARED, own=OWN, dim=DIM)


def weighted(gate: Tensor, experts: list[Tensor]) -> Tensor:
    return sum(weight * expert for weight, expert in zip(gate.softmax(0), experts, strict=True))


def outputs(bank: ExpertBank, x: Tensor) -> list[Tensor]:
    return list(bank(x[None])[0])


def first_of(level: FirstLevel, x: Tensor) -> tuple[list[Tensor], Tensor]:
    all_ways = outputs(level.experts, x)
    gates = level.gates(x).view(SCENES, SHARED + OWN)
    own = [all_ways[SHARED + OWN * scene : SHARED + OWN * (scene + 1)] for scene in range(SCENES)]
    ways = [weighted(gates[scene], all_ways[:SHARED] + own[scene]) for scene in range(SCENES)]
    return ways, weighted(level.shared_gate(x), all_ways)


def middle_of(level: MiddleLevel, ways: list[Tensor], shared: Tensor) -> tuple[list[Tensor], Tensor]:
    common = outputs(level.shared_experts, shared)
    own = [outputs(level.experts.copies[scene], ways[scene]) for scene in range(SCENES)]
    new = [weighted(level.gates.copies[scene](ways[scene]), common + own[scene]) for scene in range(SCENES)]
    return new, weighted(level.shared_gate(shared), common + list(chain(*own)))


def last_of(level: LastLevel, way: Tensor, shared: Tensor, scene: int) -> Tensor:
    experts = outputs(level.shared_experts, shared) + outputs(level.experts.copies[scene], way)
    return weighted(level.gates.copies[scene](way), experts)


def by_the_paper(model: Ple, x: Tensor, scene: int) -> Tensor:
    ways, shared = [x] * SCENES, x
    if model.first is not None:
        ways, shared = first_of(model.first, x)
    for level in model.middle:
        ways, shared = middle_of(level, ways, shared)
    return model.towers.copies[scene](last_of(model.last, ways[scene], shared, scene))


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_the_logit_is_the_papers(levels):
    model, x = ple(levels), torch.randn(7, INPUTS)
    logit = model(x, [3, 0, 4])
    expected = [by_the_paper(model, row, scene) for row, scene in zip(x, [0, 0, 0, 2, 2, 2, 2], strict=True)]
    assert torch.allclose(logit, torch.cat(expected), atol=1e-5)


def test_through_the_shared_gate_a_row_trains_all_experts():
    model = ple()
    model(torch.randn(5, INPUTS), [0, 5, 0]).sum().backward()
    moved = model.first.experts.linear.weight.grad.view(SHARED + SCENES * OWN, -1).abs().sum(1)
    assert (moved > 0).all()
    assert (model.first.shared_gate.weight.grad.abs().sum(1) > 0).all()


def test_a_row_trains_only_its_own_scenes_gates_and_last_layers():
    """The last layers are the experts of the last level and the tower."""
    model = ple()
    model(torch.randn(5, INPUTS), [0, 5, 0]).sum().backward()
    for name, weight in model.named_parameters():
        if ".copies." in name:
            assert (weight.grad is not None) == (".copies.1." in name), name
        else:
            assert weight.grad is not None, name
    moved = model.first.gates.weight.grad.view(SCENES, SHARED + OWN, -1).abs().sum((1, 2))
    assert (moved > 0).tolist() == [False, True, False]


def test_with_a_single_level_a_row_trains_only_its_own_scene():
    model = ple(levels=1)
    model(torch.randn(5, INPUTS), [0, 5, 0]).sum().backward()
    assert not [name for name, weight in model.named_parameters() if weight.grad is None and ".copies." not in name]
    assert {name.split(".copies.")[1][0] for name, weight in model.named_parameters() if weight.grad is None} == {
        "0",
        "2",
    }


def test_experts_in_bfloat16_are_near_those_in_float32():
    model, x = ple(), torch.randn(7, INPUTS)
    full = model(x, [3, 0, 4])
    model.first.experts.in_bfloat16 = True
    half = model(x, [3, 0, 4])
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    assert torch.allclose(half, full, atol=0.02)
    half.sum().backward()
    assert model.first.experts.linear.weight.grad.dtype == torch.float32
