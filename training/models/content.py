"""The content side: text alone, for rows without click history, and the gate α that fuses it with the backbone."""

import torch
from torch import Tensor, nn

from training.models.layers import PerScene, mlp
from training.models.text import TEXTS, Similarity, TextInputs

GATE_START = -1.5
"""Of the gate's logit: text begins with a small say, as a mean of both ways at odds would blunt the better one."""


class ContentTower(nn.Module):
    """A projection and a tower for each scene, on text alone.

    A scene's projection is the shared one plus its own difference, which starts at zero: a small scene stays near what
    the others have learned. `llm_dim` is 0 for a model without language-model vectors.
    """

    def __init__(self, scenes: int, text_dim: int, llm_dim: int, dim: int) -> None:
        super().__init__()
        self.similarity = Similarity(text_dim, dim)
        self.llm = nn.Linear(llm_dim, dim // 2) if llm_dim else None
        inputs = TEXTS * text_dim
        self.shared = nn.Linear(inputs, 2 * dim)
        own = [nn.Linear(inputs, 2 * dim, bias=False) for _ in range(scenes)]
        for projection in own:
            nn.init.zeros_(projection.weight)
        self.own = PerScene(own)
        rest = self.similarity.outputs + TEXTS + (2 * (dim // 2) + 2 if llm_dim else 0)
        self.towers = PerScene([mlp(2 * dim + rest, 2 * dim, 1) for _ in range(scenes)])

    def forward(self, text: TextInputs, sizes: list[int]) -> Tensor:
        """Return the logit `[B]` of rows sorted by scene with `sizes` rows each."""
        flat = text.vectors.flatten(1)
        projected = nn.functional.silu(self.shared(flat) + self.own(flat, sizes))
        inputs = [projected, self.similarity(text), text.present]
        if self.llm is not None:
            llm = nn.functional.silu(self.llm(text.llm)) * text.llm_mask.unsqueeze(-1)
            inputs += [llm.flatten(1), text.llm_mask]
        return self.towers(torch.cat(inputs, dim=1), sizes).squeeze(-1)


class Gate(nn.Module):
    """α by row: the weight of text, from the features of the row."""

    def __init__(self, inputs: int, scenes: int) -> None:
        super().__init__()
        self.net = mlp(inputs, 16, 1)
        self.bias = nn.Parameter(torch.full((scenes,), GATE_START))

    def forward(self, features: Tensor, scene: Tensor) -> Tensor:
        """Return α `[B]` in (0, 1) of `features [B, inputs]` and `scene [B] int64`."""
        return torch.sigmoid(self.net(features).squeeze(-1) + self.bias[scene])
