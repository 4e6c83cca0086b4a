"""The content side: text alone, for what the click history cannot say."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from include.schemas import LEVELS
from training.matching import MATCH_WIDTH
from training.models.layers import PerScene, mlp
from training.rows import Rows
from training.topics import TOPICS

INTENTS = ("query", "service", "bill")
WARM = LEVELS.index("warm")
FIT_WIDTH = 2 * TOPICS + 2
"""The item's topics, each one's share of the intents, and the fit to the intents so far and of today."""


@dataclass(frozen=True)
class TextInputs:
    """`vectors [B, 5, dim]`: title, entity mean, then the three intents; `present [B, 5]`; `llm [B, 2, llm_dim]` of item
    and user, zero for warm ones and where there is none, with `llm_mask [B, 2]`."""

    vectors: Tensor
    present: Tensor
    llm: Tensor
    llm_mask: Tensor


class TextLookup(nn.Module):
    """Looks texts up in the frozen tables, which belong to the rows at hand and not to the weights.

    `text [texts, dim]`, `llm [texts, llm_dim]`, `has_llm [texts] bool`; row 0 is a missing text.
    """

    text: Tensor
    llm: Tensor
    has_llm: Tensor

    def __init__(self, text: Tensor, llm: Tensor, has_llm: Tensor) -> None:
        super().__init__()
        self.register_buffer("text", text, persistent=False)
        self.register_buffer("llm", llm, persistent=False)
        self.register_buffer("has_llm", has_llm, persistent=False)

    def forward(self, rows: Rows) -> TextInputs:
        """Text of `[B]` rows; a sequence is the mean of its entities' vectors."""
        bags = [rows.title[:, None], rows.entities, *(getattr(rows, name) for name in INTENTS)]
        vectors = torch.stack([_mean(bag, self.text) for bag in bags], dim=1)
        present = torch.stack([(bag > 0).any(1) for bag in bags], dim=1).float()
        sides = [torch.cat(bags[:2], dim=1), torch.cat(bags[2:], dim=1)]
        read = [side * self.has_llm[side] for side in sides]
        cold = torch.stack([rows.item_level < WARM, rows.user_level < WARM], dim=1)
        mask = (cold & torch.stack([(bag > 0).any(1) for bag in read], dim=1)).float()
        llm = torch.stack([_mean(bag, self.llm) for bag in read], dim=1) * mask[:, :, None]
        return TextInputs(vectors, present, llm, mask)


class Similarity(nn.Module):
    """How well the item's text fits each intent: cosines of the whitened vectors and products of projected ones."""

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.item = nn.Linear(2 * text_dim, dim)
        self.intent = nn.Linear(text_dim, dim)
        self.outputs = (1 + 2 * len(INTENTS)) * dim + 2 * len(INTENTS)

    def forward(self, vectors: Tensor) -> Tensor:
        """`[B, 5, text_dim]` to `[B, outputs]`: item, intents, item · intents, and the six cosines."""
        item = self.item(vectors[:, :2].flatten(1))
        intents = self.intent(vectors[:, 2:])
        unit = nn.functional.normalize(vectors, dim=-1)
        cosines = torch.bmm(unit[:, 2:], unit[:, :2].transpose(1, 2))
        return torch.cat([item, intents.flatten(1), (item[:, None] * intents).flatten(1), cosines.flatten(1)], dim=1)


class ContentTower(nn.Module):
    """A projection and a tower for each scene, on text alone.

    A scene's projection is the shared one and its own difference from it, which starts at zero: a small scene stays near
    what the others have learnt.
    """

    def __init__(self, scenes: int, text_dim: int, llm_dim: int, dim: int) -> None:
        super().__init__()
        self.similarity = Similarity(text_dim, dim)
        self.llm = nn.Linear(llm_dim, dim // 2)
        inputs = 5 * text_dim
        self.shared = nn.Linear(inputs, 2 * dim)
        own = [nn.Linear(inputs, 2 * dim, bias=False) for _ in range(scenes)]
        for projection in own:
            nn.init.zeros_(projection.weight)
        self.own = PerScene(own)
        rest = self.similarity.outputs + FIT_WIDTH + 3 * MATCH_WIDTH + 2 * (dim // 2) + 2 + 5
        self.towers = PerScene([mlp(2 * dim + rest, 2 * dim, 1) for _ in range(scenes)])

    def forward(self, text: TextInputs, fit: Tensor, match: Tensor, sizes: list[int]) -> Tensor:
        """Logit `[B]` of rows sorted by scene, whose texts fit the intents as `match [B, …]` says."""
        flat = text.vectors.flatten(1)
        projected = nn.functional.silu(self.shared(flat) + self.own(flat, sizes))
        llm = nn.functional.silu(self.llm(text.llm)).flatten(1) * text.llm_mask.repeat_interleave(
            self.llm.out_features, 1
        )
        inputs = [projected, self.similarity(text.vectors), fit, match, llm, text.llm_mask, text.present]
        return self.towers(torch.cat(inputs, dim=1), sizes).squeeze(-1)


def _mean(bag: Tensor, table: Tensor) -> Tensor:
    return nn.functional.embedding_bag(bag, table, mode="mean", padding_idx=0)
