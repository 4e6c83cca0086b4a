"""The model: a PLE backbone and a content tower, fused row by row by a learned gate α."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from include.schemas import LEVELS
from training.models.content import ContentTower, Similarity, TextInputs
from training.models.layers import mlp
from training.models.ple import Ple
from training.rows import Rows
from training.state import ModelConfig


@dataclass(frozen=True)
class Output:
    """`logit`, `alpha` (the weight of text, in [0, 1]), `backbone` and `content` logits, each `[B] float32`;
    logit = (1 − α) · backbone + α · content."""

    logit: Tensor
    alpha: Tensor
    backbone: Tensor
    content: Tensor


@dataclass(frozen=True)
class Widths:
    """Sizes that come from the data: rows of the id tables, dense features, text and language-model dimensions."""

    users: int
    items: int
    dense: int
    text: int
    llm: int


class FusedModel(nn.Module):
    """Ids, dense features and text to a click logit. Both ways start at the scene's prior CTR and learn the rest."""

    def __init__(self, config: ModelConfig, widths: Widths) -> None:
        super().__init__()
        self.users = nn.Embedding(widths.users, config.id_dim, sparse=True)
        self.items = nn.Embedding(widths.items, config.id_dim, sparse=True)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.01)
        self.taste = nn.Linear(2 * widths.text, config.id_dim)
        self.similarity = Similarity(widths.text, config.text_dim)
        known = widths.dense + 2 + 2 * len(LEVELS) + 5  # dense, kin, levels, present
        scenes = len(config.scenes)
        self.backbone = Ple(
            4 * config.id_dim + self.similarity.outputs + known,
            scenes,
            levels=config.levels,
            shared=config.shared_experts,
            own=config.scene_experts,
            dim=config.expert_dim,
        )
        self.content = ContentTower(scenes, widths.text, widths.llm, config.text_dim)
        self.gate = mlp(known + 2, 16, 1)
        self.gate_bias = nn.Parameter(torch.zeros(scenes))

    def forward(self, rows: Rows, text: TextInputs) -> Output:
        """Outputs of rows sorted by scene."""
        sizes = torch.bincount(rows.scene, minlength=len(self.gate_bias)).tolist()
        known = torch.cat(
            [rows.dense, rows.kin, _levels(rows.user_level), _levels(rows.item_level), text.present], dim=1
        )
        ids = self._ids(rows, text)
        backbone = rows.prior + self.backbone(torch.cat([ids, self.similarity(text.vectors), known], dim=1), sizes)
        content = rows.prior + self.content(text, sizes)
        gate = self.gate(torch.cat([known, text.llm_mask], dim=1)).squeeze(-1)
        alpha = torch.sigmoid(gate + self.gate_bias[rows.scene])
        return Output((1 - alpha) * backbone + alpha * content, alpha, backbone, content)

    def _ids(self, rows: Rows, text: TextInputs) -> Tensor:
        """`[B, 4 · id_dim]`: user, item, their product, and the user's with the item's text."""
        user = self.users(rows.user.masked_fill(rows.user_cold, 0))
        own = self.items(rows.item.masked_fill(rows.item_cold, 0))
        item = torch.where(rows.item_cold[:, None], own + self._stand_in(rows), own)
        taste = self.taste(text.vectors[:, :2].flatten(1))
        return torch.cat([user, item, user * item, user * taste], dim=1)

    def _stand_in(self, rows: Rows) -> Tensor:
        """Mean id embedding `[B, id_dim]` of the warm neighbours, which a cold row must not move."""
        with torch.no_grad():
            vectors = nn.functional.embedding(rows.neighbours, self.items.weight)
            return (vectors * rows.weights.unsqueeze(-1)).sum(1)


def sort_by_scene(rows: Rows) -> tuple[Rows, Tensor]:
    """The rows in the order that the model wants, and the order itself."""
    order = torch.argsort(rows.scene, stable=True)
    return rows.take(order), order


def _levels(level: Tensor) -> Tensor:
    return nn.functional.one_hot(level, len(LEVELS)).float()
