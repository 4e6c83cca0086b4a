"""The gate's policy: which losses matter, and which risks are taken; read from a YAML file (`CTR_GATE_POLICY`)."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from include.errors import InvalidInputError

Risk = Annotated[float, Field(gt=0, lt=0.5)]
Loss = Annotated[float, Field(gt=0, lt=0.5)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Losses(_Section):
    """Losses that matter: of AUC, and of log loss as a share of the champion's; `since_anchor` is of AUC, over all nights."""

    auc: Loss
    log_loss: Loss
    scene_auc: Loss
    cold_auc: Loss
    since_anchor: Loss


class Risks(_Section):
    """Risks of a night: that a model as good as the champion is held, or rejected, by all comparisons together, and that a loss
    that matters is promoted where the day has the rows to see it."""

    hold: Risk
    reject: Risk
    promote: Risk

    @model_validator(mode="after")
    def _rejects_more_rarely_than_it_holds(self) -> "Risks":
        if self.reject > self.hold:
            raise ValueError(f"the risk to reject is {self.reject:g}, above {self.hold:g}, the risk to hold")
        return self


class Calibration(_Section):
    """Bounds of PCOC that are sane, and how much farther than the champion's a PCOC may be from 1, as a factor above 1."""

    low: float = Field(gt=0, lt=1)
    high: float = Field(gt=1)
    farther: float = Field(gt=1)


class Sanity(_Section):
    """Bounds of overall AUC: above chance, and below what only a leak can reach."""

    auc_lower_bound_above: float = Field(ge=0.5, lt=1)
    auc_below: float = Field(gt=0.5, le=1)


class Policy(_Section):
    """The rules of the gate, as `include/policies/gate.yaml` explains them."""

    name: str
    losses: Losses
    risks: Risks
    calibration: Calibration
    sanity: Sanity
    champion_has_seen_day: Literal["hold", "reject"]


def load_policy(path: Path) -> Policy:
    """Return the policy in a YAML file; raises `InvalidInputError` that names its errors."""
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InvalidInputError(f"There is no gate policy at {path}: set CTR_GATE_POLICY to a YAML file.") from None
    except (yaml.YAMLError, ValidationError) as error:
        raise InvalidInputError(
            f"The gate policy {path} is not valid: {error}. include/policies/gate.yaml shows and explains every section."
        ) from error
