"""PLE, progressive layered extraction (Tang et al., RecSys 2020), with scenes for tasks."""

import torch
from torch import Tensor, nn

from training.models.layers import ExpertBank, PerScene, mix, mlp


class ExtractionLevel(nn.Module):
    """One level: shared and scene experts, a gate for the scene's way and, except on the last level, one for the shared.

    In the paper the shared gate sees the experts of all tasks, as every row has all tasks. Here a row has one scene, so
    both gates see its scene's experts and the shared ones.
    """

    def __init__(self, inputs: int, scenes: int, shared: int, own: int, dim: int, *, last: bool) -> None:
        super().__init__()
        self.shared = ExpertBank(inputs, shared, dim)
        self.own = PerScene([ExpertBank(inputs, own, dim) for _ in range(scenes)])
        self.own_gate = PerScene([nn.Linear(inputs, shared + own) for _ in range(scenes)])
        self.shared_gate = None if last else nn.Linear(inputs, shared + own)

    def forward(self, own: Tensor, shared: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
        """The scene's way and the shared way, `[B, inputs]` each, to `[B, dim]` each."""
        experts = torch.cat([self.shared(shared), self.own(own, sizes)], dim=1)
        scene_way = mix(self.own_gate(own, sizes), experts)
        return scene_way, scene_way if self.shared_gate is None else mix(self.shared_gate(shared), experts)


class Ple(nn.Module):
    """Extraction levels and a tower for each scene."""

    def __init__(self, inputs: int, scenes: int, *, levels: int, shared: int, own: int, dim: int) -> None:
        super().__init__()
        widths = [inputs] + [dim] * (levels - 1)
        self.levels = nn.ModuleList(
            ExtractionLevel(width, scenes, shared, own, dim, last=n == levels - 1) for n, width in enumerate(widths)
        )
        self.towers = PerScene([mlp(dim, dim // 2, 1) for _ in range(scenes)])

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """`[B, inputs]` to a logit `[B]`."""
        own, shared = x, x
        for level in self.levels:
            own, shared = level(own, shared, sizes)
        return self.towers(own, sizes).squeeze(-1)
