"""The text inputs of a network: vectors, how an item's text fits the user's intents, and products of text with ids."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from include.schemas import LEVELS
from training.data.rows import Rows
from training.models.layers import InputNorm
from training.text.matching import MATCH_WIDTH
from training.text.topics import TOPICS

INTENTS = ("query", "service", "bill")
TEXTS = 2 + len(INTENTS)
"""The item's title and entities, and the intents."""
WARM = LEVELS.index("warm")
FIT_WIDTH = 2 * TOPICS + 2
"""The item's topics, each one's share of the intents, and the fit to the intents so far and of today."""
MATCHES = len(INTENTS) * MATCH_WIDTH


@dataclass(frozen=True)
class TextInputs:
    """Text of `B` rows: `vectors [B, 5, dim]`: title, entity mean, then the three intents; `present [B, 5]`; `fit [B,
    FIT_WIDTH]` and `match [B, MATCHES]`: how the item's text fits the intents, by topics and text by text; `llm [B,
    2, llm_dim]` of item and user, zero for warm ones and without a vector, with `llm_mask [B, 2]`."""

    vectors: Tensor
    present: Tensor
    fit: Tensor
    match: Tensor
    llm: Tensor
    llm_mask: Tensor


class TextLookup(nn.Module):
    """Looks up texts in the frozen tables, which belong to the rows of the batch and not to the weights.

    `text [texts, dim]`, `llm [texts, llm_dim]`, `has_llm [texts] bool`; row 0 is a missing text. Without a language
    model `llm_dim` is 0.
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
        """Return the text of `[B]` rows; a sequence is the mean of its entities' vectors."""
        bags = [rows.title[:, None], rows.entities, *(getattr(rows, name) for name in INTENTS)]
        vectors = torch.stack([_mean(bag, self.text) for bag in bags], dim=1)
        present = torch.stack([(bag > 0).any(1) for bag in bags], dim=1).float()
        return TextInputs(vectors, present, _fit(rows), rows.match, *self._cold(rows, bags))

    def _cold(self, rows: Rows, bags: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Language-model vectors `[B, 2, llm_dim]` of cold items and users, and their mask `[B, 2]`."""
        if not self.llm.shape[1]:
            return self.llm.new_zeros(len(rows), 2, 0), self.llm.new_zeros(len(rows), 2)
        sides = [torch.cat(bags[:2], dim=1), torch.cat(bags[2:], dim=1)]
        read = [side * self.has_llm[side] for side in sides]
        cold = torch.stack([rows.item_level < WARM, rows.user_level < WARM], dim=1)
        mask = (cold & torch.stack([(bag > 0).any(1) for bag in read], dim=1)).float()
        return torch.stack([_mean(bag, self.llm) for bag in read], dim=1) * mask[:, :, None], mask


class Similarity(nn.Module):
    """How the item's text fits each intent: cosines of the whitened vectors, products of projected ones, topics, matches."""

    def __init__(self, text_dim: int, dim: int) -> None:
        super().__init__()
        self.item = nn.Linear(2 * text_dim, dim)
        self.intent = nn.Linear(text_dim, dim)
        self.outputs = (1 + 2 * len(INTENTS)) * dim + 2 * len(INTENTS) + FIT_WIDTH + MATCHES
        self.norm = InputNorm(self.outputs)

    def forward(self, text: TextInputs) -> Tensor:
        """Return `[B, outputs]`, normalised: item, intents, item · intents, the six cosines, fit and match."""
        vectors = text.vectors
        item = self.item(vectors[:, :2].flatten(1))
        intents = self.intent(vectors[:, 2:])
        unit = nn.functional.normalize(vectors, dim=-1)
        cosines = torch.bmm(unit[:, 2:], unit[:, :2].transpose(1, 2))
        parts = [
            item,
            intents.flatten(1),
            (item[:, None] * intents).flatten(1),
            cosines.flatten(1),
            text.fit,
            text.match,
        ]
        return self.norm(torch.cat(parts, dim=1))


class TextFeatures(nn.Module):
    """The text inputs of a backbone, alone and combined with ids and history."""

    def __init__(self, text_dim: int, deep: int, dim: int, id_dim: int) -> None:
        super().__init__()
        self.similarity = Similarity(text_dim, dim)
        self.taste = nn.Linear(2 * text_dim, id_dim)
        self.habit = nn.Linear(deep + len(INTENTS) * text_dim, id_dim)
        self.outputs = 2 * id_dim + self.similarity.outputs + TEXTS + TOPICS + 1

    def forward(self, rows: Rows, text: TextInputs, user: Tensor) -> Tensor:
        """Return `[B, outputs]`: the item's text with the user's embedding `user [B, id_dim]` and with the user's
        habits, similarity, presence of texts, and the topics that the user clicked."""
        taste = self.taste(text.vectors[:, :2].flatten(1))
        habit = self.habit(torch.cat([rows.mean_deep_features, text.vectors[:, 2:].flatten(1)], dim=1))
        parts = [user * taste, habit * taste, self.similarity(text), text.present]
        return torch.cat([*parts, _clicks(rows)], dim=1)


def _mean(bag: Tensor, table: Tensor) -> Tensor:
    return nn.functional.embedding_bag(bag, table, mode="mean", padding_idx=0)


def _fit(rows: Rows) -> Tensor:
    """`[B, FIT_WIDTH]`: the item's topics, how far each is among the user's intents, and the sums, so far and today."""
    wants = rows.topics * torch.log1p(TOPICS * rows.intent_topics_ever)
    sums = [_log_odds(rows.topics, rows.intent_topics_ever), _log_odds(rows.topics, rows.intent_topics)]
    return torch.cat([rows.topics, wants, torch.stack(sums, dim=1)], dim=1)


def _log_odds(topics: Tensor, intents: Tensor) -> Tensor:
    """Log of how much likelier `[B]` the item's topics are among the intents than among all topics alike."""
    return torch.log(TOPICS * (topics * intents).sum(1) + 0.1)


def _clicks(rows: Rows) -> Tensor:
    """`[B, TOPICS + 1]`: how far the user has clicked each of the item's topics, and the sum."""
    clicks = rows.topics * rows.topic_affinity
    return torch.cat([clicks, clicks.sum(1, keepdim=True)], dim=1)
