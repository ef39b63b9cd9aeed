"""Barlow Twins: the cross-correlation of both views should be the identity."""

from typing import ClassVar, Literal

from sslpairs.config.base import NonNegative, Positive
from sslpairs.config.methods.base import Method


class BarlowTwinsSettings(Method):
    """Settings of ``methods/barlowtwins.py``."""

    title: ClassVar[str] = "Barlow Twins"
    softmax: ClassVar[bool] = False

    version: Literal[1] = 1
    lamb: NonNegative
    """Weight of the off-diagonal correlations."""
    scale: Positive
    """Factor of the whole loss (solo-learn's ``scale_loss``)."""
