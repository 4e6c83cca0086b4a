"""DNN: one network for all scenes, the baseline that every other backbone has to beat."""

import torch
from torch import Tensor, nn

from training.models.layers import layer, scene_one_hot


class Dnn(nn.Module):
    """Two hidden layers over all inputs, of which the scene is one."""

    def __init__(self, inputs: int, scenes: int, *, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(layer(inputs + scenes, 4 * dim), layer(4 * dim, dim), nn.Linear(dim, 1))

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Map `[B, inputs]`, sorted by scene with `sizes` rows each, to a logit `[B]`."""
        return self.layers(torch.cat([x, scene_one_hot(x, sizes)], dim=1)).squeeze(-1)
