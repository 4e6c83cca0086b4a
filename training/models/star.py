"""STAR, star topology adaptive recommender (Sheng et al., CIKM 2021): weights of a scene = shared weights × its own."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from training.distributed import total
from training.models.layers import mlp, scene_one_hot

MEMORY = 1000
"""Rows of a scene over which its moving statistics reach back, roughly."""
EPSILON = 1e-5


class PartitionedNorm(nn.Module):
    """Normalisation with each scene's own statistics; gain and shift are shared ones and the scene's.

    The paper takes the statistics of the batch, which holds one scene. Here a batch holds all scenes and may hold a
    single row of a small one: the moving statistics, which the paper uses for prediction, are used in training too.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, inputs: int, scenes: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(inputs))
        self.shift = nn.Parameter(torch.zeros(inputs))
        self.own_gain = nn.Parameter(torch.ones(scenes, inputs))
        self.own_shift = nn.Parameter(torch.zeros(scenes, inputs))
        self.register_buffer("mean", torch.zeros(scenes, inputs))
        self.register_buffer("variance", torch.ones(scenes, inputs))

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Normalise `[B, inputs]`, sorted by scene with `sizes` rows each."""
        if self.training:
            self._follow(x.detach(), sizes)
        scale = self.gain * self.own_gain * torch.rsqrt(self.variance + EPSILON)  # [scenes, inputs]
        offset = self.shift + self.own_shift - self.mean * scale
        return torch.cat([part * scale[n] + offset[n] for n, part in enumerate(x.split(sizes))])

    @torch.no_grad()
    def _follow(self, x: Tensor, sizes: list[int]) -> None:
        """Update the moving statistics by the rows of all processes; a scene without rows stays as it is."""
        parts = x.float().split(sizes)
        sizes_of_all = total(x.new_tensor(sizes, dtype=torch.float32))
        rows = sizes_of_all.clamp(min=1)[:, None]
        rate = sizes_of_all[:, None] / (sizes_of_all[:, None] + MEMORY)
        self.mean.lerp_(total(torch.stack([part.sum(0) for part in parts])) / rows, rate)
        squares = [(part - mean).square().sum(0) for part, mean in zip(parts, self.mean, strict=True)]
        self.variance.lerp_(total(torch.stack(squares)) / rows, rate)


class StarLayer(nn.Module):
    """Linear with weight shared ⊙ scene's and bias shared + scene's; a scene starts as the shared one."""

    def __init__(self, inputs: int, outputs: int, scenes: int) -> None:
        super().__init__()
        self.shared = nn.Linear(inputs, outputs)
        self.own_weight = nn.Parameter(torch.ones(scenes, outputs, inputs))
        self.own_bias = nn.Parameter(torch.zeros(scenes, outputs))

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Map `[B, inputs]`, sorted by scene with `sizes` rows each, to `[B, outputs]`."""
        parts = [
            nn.functional.linear(part, self.shared.weight * self.own_weight[n], self.shared.bias + self.own_bias[n])
            for n, part in enumerate(x.split(sizes))
            if len(part)
        ]
        return torch.cat(parts)


class Star(nn.Module):
    """Partitioned normalisation, star layers, and an auxiliary network with the scene as input; their logits add up."""

    def __init__(self, inputs: int, scenes: int, *, dim: int) -> None:
        super().__init__()
        self.norm = PartitionedNorm(inputs, scenes)
        widths = [inputs, 4 * dim, dim, 1]
        self.layers = nn.ModuleList(StarLayer(a, b, scenes) for a, b in pairwise(widths))
        self.auxiliary = mlp(inputs + scenes, dim // 2, 1)

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Map `[B, inputs]`, sorted by scene with `sizes` rows each, to a logit `[B]`."""
        hidden = self.norm(x, sizes)
        for index, layer in enumerate(self.layers):
            hidden = layer(nn.functional.silu(hidden) if index else hidden, sizes)
        return (hidden + self.auxiliary(torch.cat([x, scene_one_hot(x, sizes)], dim=1))).squeeze(-1)
