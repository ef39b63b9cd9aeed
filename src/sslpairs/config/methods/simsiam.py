"""SimSiam: a predictor learns the projection of the other view, with stop-gradient."""

from typing import ClassVar, Literal

from sslpairs.config.methods.base import Method
from sslpairs.config.networks import HeadSettings


class SimSiamSettings(Method):
    """Settings of ``methods/simsiam.py``."""

    title: ClassVar[str] = "SimSiam"
    softmax: ClassVar[bool] = False

    version: Literal[1] = 1
    predictor: HeadSettings
    second_norm: bool
    """Standardise the projections over the batch once more before the predictor and as targets, as in DimCL's released code
    (simsiam.py:145-163); solo-learn does not."""
    constant_predictor_rate: bool
    """Leave the predictor's learning rate at its peak (solo-learn's ``static_lr``)."""
