"""PLE, progressive layered extraction (Tang et al., RecSys 2020), with scenes for tasks.

In the paper every row has every task. Here a row has one scene, and only what its logit depends on is computed:

- Below the last level there is a shared way, whose gate sees the experts of *all* scenes, so all of them read every row.
  On the first level they read the same input: one matrix product. On a level between, which only three or more levels
  have, a scene's experts read that scene's way, so every row there has a way for each scene.
- On the last level there is no shared way any more: a row pays for the shared experts and those of its own scene alone, and
  so it does for its gate and its tower.
"""

import torch
from torch import Tensor, nn

from training.models.layers import ExpertBank, PerScene, mix, mlp


class FirstLevel(nn.Module):
    """The experts of all scenes and their gates, each in one product."""

    def __init__(self, inputs: int, scenes: int, *, shared: int, own: int, dim: int) -> None:
        super().__init__()
        self.shared = shared
        self.scenes = scenes
        self.experts = ExpertBank(inputs, shared + scenes * own, dim)
        self.gates = nn.Linear(inputs, scenes * (shared + own))
        self.shared_gate = nn.Linear(inputs, shared + scenes * own)

    def own(self, x: Tensor, sizes: list[int]) -> tuple[Tensor, Tensor]:
        """Map `[B, inputs]`, sorted by scene with `sizes` rows each, to the own scene's way and the shared way, `[B,
        dim]` each.

        One product mixes both: the own scene's gate gives the other scenes' experts no weight.
        """
        parts = []
        for scene, gates in enumerate(self.gates(x).view(len(x), self.scenes, -1).split(sizes)):
            weights = gates[:, scene].softmax(-1)
            own = weights.shape[1] - self.shared
            others = (scene * own, (self.scenes - 1 - scene) * own)
            parts.append(
                torch.cat([weights[:, : self.shared], nn.functional.pad(weights[:, self.shared :], others)], 1)
            )
        both = torch.stack([torch.cat(parts), self.shared_gate(x).softmax(-1)], dim=1)
        way, shared = torch.bmm(both, self.experts(x)).unbind(1)
        return way, shared

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map `[B, inputs]` to the ways of all scenes `[B, scenes, dim]`, for a middle level, and the shared way `[B, dim]`."""
        experts = self.experts(x)
        gates = self.gates(x).view(len(x), self.scenes, -1)
        return scene_ways(gates, experts, self.shared), mix(self.shared_gate(x), experts)


class MiddleLevel(nn.Module):
    """A level that is neither first nor last: every scene's experts read that scene's way of every row."""

    def __init__(self, scenes: int, *, shared: int, own: int, dim: int) -> None:
        super().__init__()
        self.shared = shared
        self.shared_experts = ExpertBank(dim, shared, dim)
        self.experts = PerScene([ExpertBank(dim, own, dim) for _ in range(scenes)])
        self.gates = PerScene([nn.Linear(dim, shared + own) for _ in range(scenes)])
        self.shared_gate = nn.Linear(dim, shared + scenes * own)

    def forward(self, ways: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        """Map scenes' ways `[B, scenes, dim]` and the shared way `[B, dim]` to the same."""
        rows, scenes, dim = ways.shape
        all_ways = ways.transpose(0, 1).reshape(scenes * rows, dim)
        sizes = [rows] * scenes
        own = self.experts(all_ways, sizes).view(scenes, rows, -1, dim).transpose(0, 1).flatten(1, 2)
        gates = self.gates(all_ways, sizes).view(scenes, rows, -1).transpose(0, 1)
        experts = torch.cat([self.shared_experts(shared), own], dim=1)
        return scene_ways(gates, experts, self.shared), mix(self.shared_gate(shared), experts)


class LastLevel(nn.Module):
    """The shared experts and those of the row's own scene, mixed by its scene's gate."""

    def __init__(self, inputs: int, scenes: int, *, shared: int, own: int, dim: int) -> None:
        super().__init__()
        self.shared_experts = ExpertBank(inputs, shared, dim)
        self.experts = PerScene([ExpertBank(inputs, own, dim) for _ in range(scenes)])
        self.gates = PerScene([nn.Linear(inputs, shared + own) for _ in range(scenes)])

    def forward(self, way: Tensor, shared: Tensor, sizes: list[int]) -> Tensor:
        """Map the own scene's way and the shared way, `[B, inputs]` each, to `[B, dim]`."""
        experts = torch.cat([self.shared_experts(shared), self.experts(way, sizes)], dim=1)
        return mix(self.gates(way, sizes), experts)


class Ple(nn.Module):
    """Extraction levels and a tower for each scene."""

    def __init__(self, inputs: int, scenes: int, *, levels: int, shared: int, own: int, dim: int) -> None:
        super().__init__()
        self.first = FirstLevel(inputs, scenes, shared=shared, own=own, dim=dim) if levels > 1 else None
        middle = [MiddleLevel(scenes, shared=shared, own=own, dim=dim) for _ in range(levels - 2)]
        self.middle = nn.ModuleList(middle)
        self.last = LastLevel(dim if levels > 1 else inputs, scenes, shared=shared, own=own, dim=dim)
        self.towers = PerScene([mlp(dim, dim // 2, 1) for _ in range(scenes)])

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Map `[B, inputs]`, sorted by scene with `sizes` rows each, to a logit `[B]`."""
        way = x
        shared = x
        if self.first is not None and self.middle:
            ways, shared = self.first(x)
            for level in self.middle:
                ways, shared = level(ways, shared)
            way = torch.cat([part[:, scene] for scene, part in enumerate(ways.split(sizes))])
        elif self.first is not None:
            way, shared = self.first.own(x, sizes)
        return self.towers(self.last(way, shared, sizes), sizes).squeeze(-1)


def scene_ways(gates: Tensor, experts: Tensor, shared: int) -> Tensor:
    """Return each scene's mix `[B, scenes, dim]` of the `shared` experts and its own.

    `gates [B, scenes, shared + own]`, before softmax; `experts [B, shared + scenes · own, dim]`, the shared ones first.
    """
    rows, scenes, width = gates.shape
    weights = gates.softmax(-1)
    own = experts[:, shared:].view(rows, scenes, width - shared, -1)
    of_own = (weights[..., shared:].unsqueeze(-1) * own).sum(2)
    return torch.bmm(weights[..., :shared], experts[:, :shared]) + of_own
