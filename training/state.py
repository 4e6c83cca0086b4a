"""Everything of a model but its weights: configuration, vocabularies, statistics, whitening, and what it remembers."""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from training.dense import Standardiser
from training.memory import ItemMemory, WarmIndex
from training.vocabulary import Vocabulary
from training.whitening import Whitening


@dataclass(frozen=True)
class ModelConfig:
    """What shapes a model. Sizes of the embedding tables come from the vocabularies."""

    scenes: tuple[str, ...]
    encoder: str
    llm: str
    item_few_impressions: int
    ctr_smoothing: float
    id_dim: int = 16
    expert_dim: int = 64
    text_dim: int = 32
    shared_experts: int = 2
    scene_experts: int = 2
    levels: int = 2
    user_cold_rate: float = 0.1
    item_cold_rate: float = 0.15

    def as_json(self) -> dict[str, Any]:
        """For `model.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ModelConfig":
        """The inverse of `as_json`."""
        return cls(**{**data, "scenes": tuple(data["scenes"])})


@dataclass(frozen=True)
class State:
    """The world as the model knows it when a day begins.

    `user_impressions [users] float32` counts training rows by row of the user vocabulary; `memory` is the items'.
    """

    config: ModelConfig
    users: Vocabulary
    items: Vocabulary
    standardiser: Standardiser
    whiten_text: Whitening
    whiten_llm: Whitening
    user_impressions: npt.NDArray[np.float32]
    memory: ItemMemory

    @cached_property
    def index(self) -> WarmIndex:
        """Search over the items that are warm when the day begins."""
        return WarmIndex(self.memory, self.config.item_few_impressions, self.config.ctr_smoothing)

    def extended(self, users: Vocabulary, items: Vocabulary) -> "State":
        """The same state with larger vocabularies, whose new ids have not been seen."""
        room = np.zeros(len(users) - len(self.user_impressions), np.float32)
        return replace(
            self,
            users=users,
            items=items,
            user_impressions=np.concatenate([self.user_impressions, room]),
            memory=self.memory.extended(len(items)),
        )

    def after(self, users: npt.NDArray[np.int64], memory: ItemMemory) -> "State":
        """The state when a day is over that showed something to `users [n]` and left this memory of the items."""
        seen = np.bincount(users, minlength=len(self.users)).astype(np.float32)
        return replace(self, user_impressions=self.user_impressions + seen, memory=memory)
