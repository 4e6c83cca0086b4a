"""MMoE, multi-gate mixture of experts (Ma et al., KDD 2018), with scenes for tasks."""

from torch import Tensor, nn

from training.models.layers import ExpertBank, PerScene, mix, mlp


class Mmoe(nn.Module):
    """Experts that all scenes share; a gate over them and a tower for each scene."""

    def __init__(self, inputs: int, scenes: int, *, experts: int, dim: int) -> None:
        super().__init__()
        self.experts = ExpertBank(inputs, experts, dim)
        self.gates = PerScene([nn.Linear(inputs, experts) for _ in range(scenes)])
        self.towers = PerScene([mlp(dim, dim // 2, 1) for _ in range(scenes)])

    def forward(self, x: Tensor, sizes: list[int]) -> Tensor:
        """Map `[B, inputs]`, sorted by scene with `sizes` rows each, to a logit `[B]`."""
        mixed = mix(self.gates(x, sizes), self.experts(x))  # [B, dim]
        return self.towers(mixed, sizes).squeeze(-1)
