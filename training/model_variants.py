"""The model variants by name, each one step more than the one before it, so that the gain of a step can be measured."""

from dataclasses import dataclass, replace
from typing import Literal

from include.errors import InvalidInputError

BackboneName = Literal["dnn", "mmoe", "ple", "star", "pepnet"]


@dataclass(frozen=True)
class ModelVariant:
    """The components of a model.

    Every `backbone` reads ids, dense features, habits, the lift of user and item, and levels. With `text` it also reads how
    the texts of item and user fit; `content` adds a tower on text alone, fused by the gate α; `llm` adds language-model
    vectors of cold users and items, and the warm neighbours of cold items.
    """

    name: str
    backbone: BackboneName
    text: bool = False
    content: bool = False
    llm: bool = False

    def without_text(self) -> "ModelVariant":
        """Return the same backbone without anything that reads text."""
        return replace(self, text=False, content=False, llm=False)


MODEL_VARIANTS = {
    variant.name: variant
    for variant in (
        ModelVariant("dnn", "dnn"),
        ModelVariant("mmoe", "mmoe"),
        ModelVariant("star", "star"),
        ModelVariant("pepnet", "pepnet"),
        ModelVariant("ple", "ple"),
        ModelVariant("ple-text", "ple", text=True),
        ModelVariant("ple-alpha", "ple", text=True, content=True),
        ModelVariant("ple-alpha-llm", "ple", text=True, content=True, llm=True),
    )
}


def model_variant(name: str) -> ModelVariant:
    """Return the variant of a name; raises `InvalidInputError` where there is none."""
    if name not in MODEL_VARIANTS:
        raise InvalidInputError(
            f"There is no model '{name}' (CTR_MODEL, --model): expected one of {', '.join(MODEL_VARIANTS)}."
        )
    return MODEL_VARIANTS[name]
