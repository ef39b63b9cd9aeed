"""NNCLR: nearest neighbours from a queue are the positives."""

from typing import ClassVar, Literal

from sslpairs.config.base import Count, Positive
from sslpairs.config.methods.base import Method
from sslpairs.config.networks import HeadSettings


class NNCLRSettings(Method):
    """Settings of ``methods/nnclr.py``."""

    title: ClassVar[str] = "NNCLR"

    version: Literal[1] = 1
    temperature: Positive
    queue: Count
    """Number of projections in which nearest neighbours are searched."""
    predictor: HeadSettings
