"""What all configuration models have in common: how strict they are, and the kinds of numbers and texts that they hold.

Every number has an upper bound, far above what anybody trains with: a slip of the keyboard is told when it is read.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sslpairs.config.loading import read_value


class Model(BaseModel):
    """Strict, closed and immutable: an unknown key, or a number given as text, is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Count = Annotated[int, Field(gt=0, le=1_000_000)]
"""Of images, epochs, neighbours, queued keys, ..."""
Width = Annotated[int, Field(gt=0, le=65_536)]
"""Numbers in a layer."""
Positive = Annotated[float, Field(gt=0, le=1e6)]
NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Rate = Annotated[float, Field(gt=0, le=1000)]
"""A learning rate."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=2, max_length=2)]
"""Smallest and largest value."""
Momentum = Annotated[list[Fraction], Field(min_length=2, max_length=2)]
"""Of a momentum encoder: first and last value, cosine in between."""

NAME = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
RESERVED = ("all", "every", "default")
"""Words that mean something else where names stand."""


def _no_other_word(name: str) -> str:
    if name.lower() in RESERVED:
        raise ValueError(f"'{name}' cannot be a name: the word has a meaning of its own; choose another")
    if not isinstance(read_value(name, name), str):
        raise ValueError(f"'{name}' cannot be a name: YAML reads it as a number, true, false or null; choose another")
    return name


Name = Annotated[str, Field(pattern=NAME, max_length=64), AfterValidator(_no_other_word)]
"""Of a table, a figure, a data set, an augmentation or a file: it stands in the names of files and of rules, and on command lines."""
Title = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(lambda text: " ".join(text.split()))]
"""A line of text: line breaks become spaces."""
