"""The model: a PLE backbone and a content tower, fused row by row by a learned gate α."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from include.schemas import DEEP_FEATURES, LEVELS
from training.matching import MATCH_WIDTH
from training.models.content import FIT_WIDTH, ContentTower, Similarity, TextInputs
from training.models.layers import mlp
from training.models.ple import Ple
from training.rows import Rows
from training.state import ModelConfig
from training.topics import TOPICS

GATE_START = -1.5
"""Of the gate's logit: text begins with a small say, as a mean of both ways at odds would blunt the better one."""


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
        self.habit = nn.Linear(len(DEEP_FEATURES) + 3 * widths.text, config.id_dim)
        self.similarity = Similarity(widths.text, config.text_dim)
        known = (
            widths.dense + len(DEEP_FEATURES) + 2 + 2 + 3 * MATCH_WIDTH + 2 * len(LEVELS) + 5
        )  # dense, habits, kin, own, match, levels, present
        scenes = len(config.scenes)
        self.backbone = Ple(
            5 * config.id_dim + self.similarity.outputs + known + FIT_WIDTH + TOPICS + 1,
            scenes,
            levels=config.levels,
            shared=config.shared_experts,
            own=config.scene_experts,
            dim=config.expert_dim,
        )
        self.content = ContentTower(scenes, widths.text, widths.llm, config.text_dim)
        self.gate = mlp(known + 2, 16, 1)
        self.gate_bias = nn.Parameter(torch.full((scenes,), GATE_START))

    def forward(self, rows: Rows, text: TextInputs) -> Output:
        """Outputs of rows sorted by scene."""
        sizes = torch.bincount(rows.scene, minlength=len(self.gate_bias)).tolist()
        levels = [_levels(rows.user_level), _levels(rows.item_level)]
        known = torch.cat([rows.dense, rows.habits, rows.kin, rows.own, rows.match, *levels, text.present], dim=1)
        fit = _fit(rows)
        inputs = torch.cat([self._ids(rows, text), self.similarity(text.vectors), known, fit, _clicks(rows)], dim=1)
        backbone = rows.prior + self.backbone(inputs, sizes)
        content = rows.prior + self.content(text, fit, rows.match, sizes)
        gate = self.gate(torch.cat([known, text.llm_mask], dim=1)).squeeze(-1)
        alpha = torch.sigmoid(gate + self.gate_bias[rows.scene])
        return Output((1 - alpha) * backbone + alpha * content, alpha, backbone, content)

    def _ids(self, rows: Rows, text: TextInputs) -> Tensor:
        """`[B, 5 · id_dim]`: user, item, their product, and the item's text with the user and with the user's habits."""
        user = self.users(rows.user.masked_fill(rows.user_cold, 0))
        own = self.items(rows.item.masked_fill(rows.item_cold, 0))
        item = torch.where(rows.item_cold[:, None], own + self._stand_in(rows), own)
        taste = self.taste(text.vectors[:, :2].flatten(1))
        habit = self.habit(torch.cat([rows.habits, text.vectors[:, 2:].flatten(1)], dim=1))
        return torch.cat([user, item, user * item, user * taste, habit * taste], dim=1)

    def _stand_in(self, rows: Rows) -> Tensor:
        """Mean id embedding `[B, id_dim]` of the warm neighbours, which a cold row must not move."""
        with torch.no_grad():
            vectors = nn.functional.embedding(rows.neighbours, self.items.weight)
            return (vectors * rows.weights.unsqueeze(-1)).sum(1)


def sort_by_scene(rows: Rows) -> tuple[Rows, Tensor]:
    """The rows in the order that the model wants, and the order itself."""
    order = torch.argsort(rows.scene, stable=True)
    return rows.take(order), order


def _fit(rows: Rows) -> Tensor:
    """`[B, FIT_WIDTH]`: the item's topics, how far each is among the user's intents, and the sums, so far and today."""
    wants = rows.topics * torch.log1p(TOPICS * rows.always)
    sums = [_log_odds(rows.topics, rows.always), _log_odds(rows.topics, rows.today)]
    return torch.cat([rows.topics, wants, torch.stack(sums, dim=1)], dim=1)


def _clicks(rows: Rows) -> Tensor:
    """`[B, TOPICS + 1]`: how far each of the item's topics is to the user's taste, as clicks tell, and the sum."""
    clicks = rows.topics * rows.taste
    return torch.cat([clicks, clicks.sum(1, keepdim=True)], dim=1)


def _log_odds(topics: Tensor, intents: Tensor) -> Tensor:
    """Log of how much likelier `[B]` the item's topics are among the intents than among all topics alike."""
    return torch.log(TOPICS * (topics * intents).sum(1) + 0.1)


def _levels(level: Tensor) -> Tensor:
    return nn.functional.one_hot(level, len(LEVELS)).float()
