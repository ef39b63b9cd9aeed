"""VICReg: invariance, variance and covariance."""

from typing import ClassVar, Literal

from sslpairs.config.base import NonNegative
from sslpairs.config.methods.base import Method


class VICRegSettings(Method):
    """Settings of ``methods/vicreg.py``; weights on solo-learn's scale."""

    title: ClassVar[str] = "VICReg"
    softmax: ClassVar[bool] = False

    version: Literal[1] = 1
    sim: NonNegative
    """Weight of the invariance term."""
    var: NonNegative
    """Weight of the variance term, summed over both views."""
    cov: NonNegative
    """Weight of the covariance term, summed over both views."""
