"""The gate's policy: which rules, with which margins; read from a YAML file (`CTR_GATE_POLICY`)."""

import re
from datetime import date
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from include.errors import InvalidInputError

Uncertain = Literal["hold", "hold_if_below", "note"]
"""When the data can tell neither that the margin is kept nor that it is broken: `hold` for a person, hold only when the
measured change itself is below the margin, or promote with a note."""

ONE_SIDED = NormalDist().inv_cdf(0.95)
"""Standard deviations that noise exceeds on one side in 5 % of cases."""
TWO_MODELS = 2**0.5 * ONE_SIDED
"""The same for the difference of two models, each with noise of its own."""

_SECTIONS = {
    "scene mean gauc": "scene_mean_gauc",
    "gauc of scene .+": "scene_gauc",
    "auc of scene .+": "scene_auc",
    "cold (items|users)": "cold_auc",
    "auc": None,
    "pcoc": "pcoc",
    "pcoc of scene .+": "scene_pcoc",
    "ece": "ece",
}
_FIGURE = f"^({'|'.join(_SECTIONS)})$"


def section_of(figure: str) -> str | None:
    """The section of the policy that judges a figure (named as the gate's rules are); None where no margin does."""
    return next(section for pattern, section in _SECTIONS.items() if re.fullmatch(pattern, figure))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Margin(_Section):
    """How much worse than the champion a candidate may be."""

    margin: float = Field(gt=0)
    uncertain: Uncertain


class UserMargin(Margin):
    """As `Margin`, judged from this many users with a click and a non-click on."""

    min_users: int = Field(ge=10)


class ClickMargin(Margin):
    """As `Margin`, judged from this many clicks and non-clicks on."""

    min_clicks: int = Field(ge=10)
    min_non_clicks: int = Field(ge=10)


class Band(_Section):
    """Where a figure has to lie; `uncertain` is for one outside it whose interval reaches into it and which is farther from 1
    than the champion's.
    """

    low: float = Field(gt=0)
    high: float = Field(gt=0)
    uncertain: Literal["hold", "note"]
    min_clicks: int = Field(10, ge=10)


class Sanity(_Section):
    """Bounds of overall AUC: above chance, and below what only a leak can reach."""

    auc_lower_bound_above: float = Field(ge=0.5, lt=1)
    auc_below: float = Field(gt=0.5, le=1)


class Noise(_Section):
    """Standard deviation between seeds of the gate's figures, by rule, as `ctr gate-noise` measured it on a day."""

    day: date
    seeds: Annotated[list[int], Field(min_length=2)]
    rows: int = Field(ge=1)
    code: str
    figures: dict[
        Annotated[str, Field(pattern=_FIGURE)],
        Annotated[float, Field(ge=0, allow_inf_nan=False)],
    ]

    @field_validator("seeds")
    @classmethod
    def _differ(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is listed twice")
        return seeds


class Policy(_Section):
    """The rules of the gate; `alpha` is the error rate of a bound that passes or holds, `reject_alpha` of one that rejects."""

    name: str
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    reject_alpha: Annotated[float, Field(gt=0, lt=0.5)]
    champion_has_seen_day: Literal["hold", "reject"]
    sanity: Sanity
    scene_mean_gauc: Margin
    scene_gauc: UserMargin
    scene_auc: ClickMargin
    cold_auc: ClickMargin
    pcoc: Band
    scene_pcoc: Band
    ece: Margin
    noise: Noise | None = None

    def without_doubt(self) -> "Policy":
        """Return the policy by which nothing is held because the day's data cannot tell: against an outdated champion."""
        sections = {name: value for name, value in self if isinstance(value, Margin | Band)}
        return self.model_copy(
            update={name: section.model_copy(update={"uncertain": "note"}) for name, section in sections.items()}
        )

    @model_validator(mode="after")
    def _rejects_more_rarely_than_it_holds(self) -> "Policy":
        if self.reject_alpha > self.alpha:
            raise ValueError(f"reject_alpha is {self.reject_alpha:g}, above alpha {self.alpha:g}")
        return self


def load_policy(path: Path) -> Policy:
    """The policy in a YAML file; raises `InvalidInputError` that names what is wrong with it."""
    try:
        return parse_policy(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise InvalidInputError(f"There is no gate policy at {path}: set CTR_GATE_POLICY to a YAML file.") from None


def parse_policy(text: str, path: Path) -> Policy:
    """The policy in the text of a file; raises `InvalidInputError` that names the file and what is wrong with it."""
    try:
        return Policy.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise InvalidInputError(f"The gate policy {path} is not valid: {error}") from error
