"""Base class of all configuration models, and the types of numbers and strings that they use.

Every number has an upper bound far above any value used in training, so that typos are reported when the file is read.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from sslpairs.config.loading import read_value


class Model(BaseModel):
    """Strict, closed and immutable: an unknown key or a number given as text is an error."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Count = Annotated[int, Field(gt=0, le=1_000_000)]
"""Number of images, epochs, neighbours, queued keys, ..."""
Width = Annotated[int, Field(gt=0, le=65_536)]
"""Width of a layer."""
Positive = Annotated[float, Field(gt=0, le=1e6)]
NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Rate = Annotated[float, Field(gt=0, le=1000)]
"""A learning rate."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Range = Annotated[list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=2, max_length=2)]
"""Smallest and largest value."""
Momentum = Annotated[list[Fraction], Field(min_length=2, max_length=2)]
"""Momentum of a momentum encoder: first and last value, cosine in between."""

NAME = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
RESERVED = ("all", "every", "default")
"""Reserved words, which have a meaning of their own where a name is expected."""


def _no_other_word(name: str) -> str:
    if name.lower() in RESERVED:
        raise ValueError(f"'{name}' cannot be a name: the word is reserved; choose another")
    if not isinstance(read_value(name, name), str):
        raise ValueError(f"'{name}' cannot be a name: YAML reads it as a number, true, false or null; choose another")
    return name


Name = Annotated[str, Field(pattern=NAME, max_length=64), AfterValidator(_no_other_word)]
"""Name of a table, figure, data set, augmentation or file. It is used in file names, rule names and on command lines."""
Title = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(lambda text: " ".join(text.split()))]
"""One line of text: line breaks become spaces."""
