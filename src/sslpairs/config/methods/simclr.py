"""SimCLR: contrastive loss within a batch."""

from typing import ClassVar, Literal

from sslpairs.config.base import Positive
from sslpairs.config.methods.base import Method


class SimCLRSettings(Method):
    """Settings of ``methods/simclr.py``."""

    title: ClassVar[str] = "SimCLR"

    version: Literal[1] = 1
    temperature: Positive
