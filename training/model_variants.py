"""The ladder: the models by name, each one step more than the one before it, so that a person can see what a step is worth."""

from dataclasses import dataclass
from typing import Literal

from include.errors import InvalidInputError

BackboneName = Literal["dnn", "mmoe", "ple", "star", "pepnet"]


@dataclass(frozen=True)
class Rung:
    """What a model is composed of.

    Every `backbone` reads ids, dense features, habits, the lift of user and item, and levels. With `text` it also reads how
    the texts of item and user fit; `content` adds a tower on text alone, fused by the gate α; `llm` adds language-model
    vectors of cold users and items, and the warm neighbours of cold items.
    """

    name: str
    backbone: BackboneName
    text: bool = False
    content: bool = False
    llm: bool = False


RUNGS = {
    rung.name: rung
    for rung in (
        Rung("dnn", "dnn"),
        Rung("mmoe", "mmoe"),
        Rung("star", "star"),
        Rung("pepnet", "pepnet"),
        Rung("ple", "ple"),
        Rung("ple-text", "ple", text=True),
        Rung("ple-alpha", "ple", text=True, content=True),
        Rung("ple-alpha-llm", "ple", text=True, content=True, llm=True),
    )
}


def rung_named(name: str) -> Rung:
    """The rung of a name; raises `InvalidInputError` where there is none."""
    if name not in RUNGS:
        raise InvalidInputError(f"There is no model '{name}' (CTR_MODEL, --model): expected one of {', '.join(RUNGS)}.")
    return RUNGS[name]
