"""The base of what the lake keeps as JSON: models that keep the fields of later versions of the code."""

from typing import Any

from pydantic import BaseModel, ConfigDict


class JsonModel(BaseModel):
    """A model that does not change; unknown fields are kept, and fields that were not set are not written."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    def as_json(self) -> dict[str, Any]:
        """Return the fields that were set, as JSON."""
        return self.model_dump(mode="json", exclude_unset=True)
