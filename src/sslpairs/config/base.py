"""What all configuration models have in common."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Strict, closed and immutable: an unknown key, or a number given as text, is an error."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
