"""The network of a model variant: a backbone and, where there is a content tower, the gate α between them."""

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor, nn

from include.schemas import LEVELS
from training.data.rows import Rows
from training.data.state import ModelConfig
from training.models.content import ContentTower, Gate
from training.models.dnn import Dnn
from training.models.mmoe import Mmoe
from training.models.pepnet import PepNet
from training.models.ple import Ple
from training.models.star import Star
from training.models.text import MATCHES, TEXTS, TextFeatures, TextInputs, TextLookup


@dataclass(frozen=True)
class Output:
    """`logit`, `alpha` (the weight of text, in [0, 1]), `backbone` and `content` logits, each `[B] float32`;
    logit = (1 − α) · backbone + α · content. Without a content tower α is 0 and `content` repeats the backbone."""

    logit: Tensor
    alpha: Tensor
    backbone: Tensor
    content: Tensor


@dataclass(frozen=True)
class Widths:
    """Sizes that come from the data: rows of the id tables, dense inputs, the deep features among them, text and
    language-model dimensions."""

    users: int
    items: int
    dense: int
    deep: int
    text: int
    llm: int


class Network(nn.Module):
    """Ids, dense features and, if the variant has it, text to a click logit.

    Backbone and content both start at the scene's prior CTR and learn the rest. Beside the backbone there is a wide
    part (Cheng et al., 2016), linear in everything but ids, which learns simple effects from few rows.
    """

    def __init__(self, config: ModelConfig, widths: Widths) -> None:
        super().__init__()
        variant = self.variant = config.variant
        self.scenes = len(config.scenes)
        self.users = nn.Embedding(widths.users, config.id_dim, sparse=True)
        self.items = nn.Embedding(widths.items, config.id_dim, sparse=True)
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.01)
        row_inputs = widths.dense + widths.deep + 2 + 2 * len(LEVELS) + (2 if variant.llm else 0)
        self.text = TextFeatures(widths.text, widths.deep, config.text_dim, config.id_dim) if variant.text else None
        ids = 3 * config.id_dim
        seen = row_inputs + (self.text.outputs if self.text else 0)
        self.backbone = backbone_of(config, ids + seen)
        self.wide = nn.Linear(seen, 1)
        nn.init.zeros_(self.wide.weight)
        if variant.content:
            self.content = ContentTower(self.scenes, widths.text, widths.llm, config.text_dim)
            self.gate = Gate(row_inputs + MATCHES + TEXTS + (2 if variant.llm else 0), self.scenes)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.users.weight.device

    def forward(self, rows: Rows, texts: TextLookup) -> Output:
        """Return outputs of rows sorted by scene; a variant without text looks nothing up."""
        sizes = torch.bincount(rows.scene, minlength=self.scenes).tolist()
        user = self._user(rows)
        item = self._item(rows)
        row_features = self._row_features(rows)
        ids = torch.cat([user, item, user * item], dim=1)
        if self.text is None:
            return alone(rows.prior + self._backbone(ids, row_features, sizes))
        text = texts(rows)
        seen = torch.cat([row_features, self.text(rows, text, user)], dim=1)
        backbone = rows.prior + self._backbone(ids, seen, sizes)
        if not self.variant.content:
            return alone(backbone)
        content = rows.prior + self.content(text, sizes)
        alpha = self._alpha(rows, text, row_features)
        return Output((1 - alpha) * backbone + alpha * content, alpha, backbone, content)

    def _backbone(self, ids: Tensor, seen: Tensor, sizes: list[int]) -> Tensor:
        """Logit `[B]` of ids `[B, 3 · id_dim]` and everything else `[B, …]`: deep, and wide without ids."""
        deep = self.backbone(torch.cat([ids, seen], dim=1), sizes)
        return deep + self.wide(seen).squeeze(-1)

    def _user(self, rows: Rows) -> Tensor:
        """`[B, id_dim]`."""
        return self.users(rows.user.masked_fill(rows.user_cold, 0))

    def _item(self, rows: Rows) -> Tensor:
        """Return `[B, id_dim]`; for a cold item, the mean of its warm neighbours is added."""
        own = self.items(rows.item.masked_fill(rows.item_cold, 0))
        if not self.variant.llm:
            return own
        with torch.no_grad():  # a cold row must not move them
            vectors = nn.functional.embedding(rows.neighbours, self.items.weight)
            stand_in = (vectors * rows.weights.unsqueeze(-1)).sum(1)
        return torch.where(rows.item_cold[:, None], own + stand_in, own)

    def _row_features(self, rows: Rows) -> Tensor:
        """Return `[B, …]`: dense features, habits, lift, levels, and the lift and similarity of the item's neighbours."""
        levels = [_one_hot(rows.user_level), _one_hot(rows.item_level)]
        return torch.cat(
            [
                rows.dense,
                rows.mean_deep_features,
                rows.id_lift,
                *levels,
                *([rows.neighbour_stats] if self.variant.llm else []),
            ],
            dim=1,
        )

    def _alpha(self, rows: Rows, text: TextInputs, row_features: Tensor) -> Tensor:
        seen = [row_features, text.match, text.present, *([text.llm_mask] if self.variant.llm else [])]
        return self.gate(torch.cat(seen, dim=1), rows.scene)


def backbone_of(config: ModelConfig, inputs: int) -> nn.Module:
    """Return the variant's backbone: `forward(x [B, inputs], sizes)` gives a logit `[B]` of rows sorted by scene.

    The first `2 · id_dim` inputs are the embeddings of user and item.
    """
    scenes = len(config.scenes)
    dim = config.expert_dim
    shared = config.shared_experts
    own = config.scene_experts
    match config.variant.backbone:
        case "dnn":
            return Dnn(inputs, scenes, dim=dim)
        case "mmoe":
            return Mmoe(inputs, scenes, experts=shared + scenes * own, dim=dim)
        case "ple":
            return Ple(inputs, scenes, levels=config.levels, shared=shared, own=own, dim=dim)
        case "star":
            return Star(inputs, scenes, dim=dim)
        case "pepnet":
            return PepNet(inputs, scenes, ids=2 * config.id_dim, dim=dim)
        case other:
            assert_never(other)


def alone(backbone: Tensor) -> Output:
    """Return the outputs of a model without a content tower."""
    return Output(backbone, torch.zeros_like(backbone), backbone, backbone)


def by_scene(scene: Tensor) -> Tensor:
    """Return the order `[B] int64` of rows of these scenes `[B]` that the model expects, grouped by scene."""
    return torch.argsort(scene, stable=True)


def _one_hot(level: Tensor) -> Tensor:
    return nn.functional.one_hot(level, len(LEVELS)).float()
