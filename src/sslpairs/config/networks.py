"""Heads on top of backbones."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.base import Model, Width


class HeadSettings(Model):
    """A multi-layer perceptron on the features: linear, optional batch norm, ReLU, ..., linear, optional batch norm."""

    hidden: Annotated[list[Width], Field(max_length=16)]
    output: Width
    batch_norm: bool
    """Batch norm after every hidden layer."""
    last_batch_norm: bool | Literal["fixed"]
    """Batch norm after the output layer; ``fixed`` has no learnable scale and shift (SimSiam)."""
