"""Layers for rows grouped by scene: a row pays only for its own scene's part."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.distributed import processes, total

NORM_MOMENTUM = 0.02
NORM_CONSTANT = 1e-5
"""Variance below which an input counts as constant."""
NORM_CLIP = 6.0


class ExpertBank(nn.Module):
    """Several experts of one input in one matrix product: Linear, LayerNorm, SiLU.

    LayerNorm keeps an expert from dying or from drowning the others; SiLU has a gradient everywhere. The product is by far the
    widest of a network; with `in_bfloat16` set it is computed in that, and all else stays in float32.
    """

    in_bfloat16 = False

    def __init__(self, inputs: int, experts: int, outputs: int) -> None:
        super().__init__()
        self.experts = experts
        self.outputs = outputs
        self.linear = nn.Linear(inputs, experts * outputs)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, inputs]` to `[B, experts, outputs]`."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bfloat16):
            product = self.linear(x)
        hidden = product.float().view(len(x), self.experts, self.outputs)
        return nn.functional.silu(self.norm(hidden))


class InputNorm(nn.BatchNorm1d):
    """Inputs at zero mean and unit variance (Ioffe and Szegedy, 2015), without weights.

    For inputs whose scales differ by orders of magnitude, as similarities do. The running moments, which are used to
    predict, are plain means at first and then look back about fifty steps; an input that has not varied so far is 0,
    and all are clipped to `NORM_CLIP`.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `[B, inputs]`; a training step of one row, which has no variance, uses the running
        moments too."""
        if self.training and (len(x) > 1 or processes() > 1):
            self.momentum = max(NORM_MOMENTUM, 1 / (1 + int(self.num_batches_tracked or 0)))
            normal = super().forward(x) if processes() == 1 else self._by_moments_of_all(x)
            return normal.clamp(-NORM_CLIP, NORM_CLIP)
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = torch.where(self.running_var > NORM_CONSTANT, (self.running_var + self.eps).rsqrt(), 0.0)
        return ((x - self.running_mean) * scale).clamp(-NORM_CLIP, NORM_CLIP)

    def _by_moments_of_all(self, x: Tensor) -> Tensor:
        """Normalise as `BatchNorm1d` does, by the moments of the rows of all processes, each of which has at least one."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        sums = total(torch.cat([x.sum(0), x.new_tensor([len(x)])]))
        mean = sums[:-1] / sums[-1]
        rows = sums[-1].detach()
        variance = total((x - mean).square().sum(0)) / rows
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * rows / (rows - 1), self.momentum)
        return (x - mean) * torch.rsqrt(variance + self.eps)


class PerScene(nn.Module):
    """One copy of a module for each scene, each run on its scene's rows alone."""

    def __init__(self, copies: Sequence[nn.Module]) -> None:
        super().__init__()
        self.copies = nn.ModuleList(copies)

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Map `[B, …]`, sorted by scene with `sizes` rows each, through each scene's copy, in the same order."""
        parts = [copy(part) for copy, part in zip(self.copies, x.split(sizes), strict=True) if len(part)]
        return torch.cat(parts)


def layer(inputs: int, outputs: int) -> nn.Sequential:
    """Return one hidden layer, as in an expert: Linear, LayerNorm, SiLU."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.SiLU())


def mlp(inputs: int, hidden: int, outputs: int, activation: type[nn.Module] = nn.SiLU) -> nn.Sequential:
    """Return Linear, activation, Linear."""
    return nn.Sequential(nn.Linear(inputs, hidden), activation(), nn.Linear(hidden, outputs))


def mix(gate: Tensor, experts: Tensor) -> Tensor:
    """Return experts `[B, experts, dim]` weighted by the softmax of `gate [B, experts]`: `[B, dim]`."""
    return torch.bmm(gate.softmax(-1).unsqueeze(1), experts).squeeze(1)


def scene_of(x: Tensor, sizes: list[int]) -> Tensor:
    """Return the scene `[B] int64` of each row of `x [B, …]`, which are sorted by scene with `sizes` rows each."""
    return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(x.device)


def scene_one_hot(x: Tensor, sizes: list[int]) -> Tensor:
    """Return the same as `[B, scenes] float32`, one 1 a row."""
    return nn.functional.one_hot(scene_of(x, sizes), len(sizes)).float()
