"""BYOL: a predictor learns the outputs of a momentum network."""

from typing import ClassVar, Literal

from sslpairs.config.base import Momentum
from sslpairs.config.methods.base import Method
from sslpairs.config.networks import HeadSettings


class BYOLSettings(Method):
    """Settings of ``methods/byol.py``."""

    title: ClassVar[str] = "BYOL"
    targets: ClassVar[int] = 2
    softmax: ClassVar[bool] = False

    version: Literal[1] = 1
    momentum: Momentum
    """Momentum of the target network: first and last value, cosine in between."""
    predictor: HeadSettings
