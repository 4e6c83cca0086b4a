"""PEPNet, parameter and embedding personalised network (Chang et al., KDD 2023), with one task and scenes for domains."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from training.models.layers import layer, mlp, scene_one_hot


class GateUnit(nn.Module):
    """Gate NU: a factor in (0, 2) for each output, 1 to begin with."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.net = mlp(inputs, hidden, outputs, nn.ReLU)
        for weight in self.net[-1].parameters():
            nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[B, inputs]` to `[B, outputs]`."""
        return 2 * torch.sigmoid(self.net(x))


class PepNet(nn.Module):
    """EPNet: the scene scales the inputs. PPNet: user and item, by their embeddings, scale the units of each hidden layer.

    The gates see the inputs without moving them: no gradient goes back that way.
    """

    def __init__(self, inputs: int, scenes: int, *, ids: int, dim: int) -> None:
        super().__init__()
        self.ids = ids
        widths = [inputs, 4 * dim, dim]
        self.scene_gate = GateUnit(inputs + scenes, dim, inputs)
        self.layers = nn.ModuleList(layer(a, b) for a, b in pairwise(widths))
        self.gates = nn.ModuleList(GateUnit(inputs + ids, dim, width) for width in widths[1:])
        self.tower = nn.Linear(dim, 1)

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Map `[B, inputs]`, the first `ids` of them id embeddings, sorted by scene with `sizes` rows each, to a logit `[B]`."""
        ids = x[:, : self.ids]
        x = x * self.scene_gate(torch.cat([x.detach(), scene_one_hot(x, sizes)], dim=1))
        gate_inputs = torch.cat([x.detach(), ids], dim=1)
        hidden = x
        for step, gate in zip(self.layers, self.gates, strict=True):
            hidden = step(hidden) * gate(gate_inputs)
        return self.tower(hidden).squeeze(-1)
