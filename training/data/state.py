"""Everything of a model but its weights: configuration, vocabularies, statistics, whitening, and the memory of ids."""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from training.data.id_memory import Floats, Memory, WarmIndex, lift
from training.data.standardiser import Standardiser
from training.data.vocabulary import Vocabulary
from training.model_variants import ModelVariant, model_variant
from training.text.topics import Topics
from training.text.whitening import TextSpace, Whitening


@dataclass(frozen=True)
class ModelConfig:
    """The configuration of a model: `model` is its variant's name. Sizes of the embedding tables come from the vocabularies.

    `encoder` and `llm` are empty where the variant reads no text, or no language model's vectors. Without `has_text` the items
    of the training window had no texts, and the model leaves out whatever reads text.
    """

    model: str
    scenes: tuple[str, ...]
    encoder: str
    llm: str
    item_few_impressions: int
    ctr_smoothing: float
    text_space: TextSpace = "whitened"
    warm_index: str = "Flat"
    has_text: bool = True
    id_dim: int = 16
    expert_dim: int = 64
    text_dim: int = 32
    shared_experts: int = 2
    scene_experts: int = 2
    levels: int = 2
    user_cold_rate: float = 0.1
    item_cold_rate: float = 0.15

    @property
    def variant(self) -> ModelVariant:
        """The components of the model."""
        variant = model_variant(self.model)
        return variant if self.has_text else variant.without_text()

    def without_text(self) -> "ModelConfig":
        """Return the configuration of a log whose items have no texts."""
        return replace(self, has_text=False, encoder="", llm="")

    def as_json(self) -> dict[str, Any]:
        """Return the content of `model.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ModelConfig":
        """Return the configuration that `as_json` has written."""
        return cls(**{**data, "scenes": tuple(data["scenes"])})


@dataclass(frozen=True)
class State:
    """The state of the model at the start of a day."""

    config: ModelConfig
    users: Vocabulary
    items: Vocabulary
    standardiser: Standardiser
    whiten_text: Whitening
    whiten_llm: Whitening
    topics: Topics
    memory: Memory

    @cached_property
    def index(self) -> WarmIndex:
        """Search over the items that are warm when the day begins."""
        return WarmIndex(self.memory, self.item_lift, self.config.item_few_impressions, self.config.warm_index)

    @cached_property
    def user_lift(self) -> Floats:
        """Smoothed log(clicks / expected clicks) by row of the user vocabulary."""
        return lift(self.memory.user_counts, self.config.ctr_smoothing)

    @cached_property
    def item_lift(self) -> Floats:
        """Smoothed log(clicks / expected clicks) by row of the item vocabulary."""
        return lift(self.memory.item_counts, self.config.ctr_smoothing)

    def extended(self, users: Vocabulary, items: Vocabulary) -> "State":
        """Return the same state with larger vocabularies, whose new ids have not been seen."""
        return replace(self, users=users, items=items, memory=self.memory.extended(len(users), len(items)))
