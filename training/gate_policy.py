"""The gate's policy: which rules, with which margins; read from a YAML file (`CTR_GATE_POLICY`)."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from include.errors import InvalidInputError

Uncertain = Literal["hold", "hold_if_below", "note"]
"""When the data can tell neither that the margin is kept nor that it is broken: `hold` for a person, hold only when the
measured change itself is below the margin, or promote with a note."""


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
    """Where a figure has to lie."""

    low: float = Field(gt=0)
    high: float = Field(gt=0)
    min_clicks: int = Field(10, ge=10)


class Sanity(_Section):
    """Bounds of overall AUC: above chance, and below what only a leak can reach."""

    auc_lower_bound_above: float = Field(ge=0.5, lt=1)
    auc_below: float = Field(gt=0.5, le=1)


class Policy(_Section):
    """The rules of the gate; `alpha` is the error rate of each one-sided bound."""

    name: str
    alpha: Annotated[float, Field(gt=0, lt=0.5)]
    champion_has_seen_day: Literal["hold", "reject"]
    sanity: Sanity
    scene_mean_gauc: Margin
    scene_gauc: UserMargin
    scene_auc: ClickMargin
    cold_auc: ClickMargin
    pcoc: Band
    scene_pcoc: Band
    ece: Margin


def load_policy(path: Path) -> Policy:
    """The policy in a YAML file; raises `InvalidInputError` that names what is wrong with it."""
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise InvalidInputError(f"There is no gate policy at {path}: set CTR_GATE_POLICY to a YAML file.") from None
    except (yaml.YAMLError, ValidationError) as error:
        raise InvalidInputError(f"The gate policy {path} is not valid: {error}") from error
