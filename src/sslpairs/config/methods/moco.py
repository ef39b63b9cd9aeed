"""MoCo v2: queries against the keys of a queue."""

from typing import ClassVar, Literal

from sslpairs.config.base import Count, Momentum, Positive
from sslpairs.config.methods.base import Method


class MoCoSettings(Method):
    """Settings of ``methods/moco.py``: one-way, with one queue."""

    title: ClassVar[str] = "MoCo v2"
    views: ClassVar[int] = 1
    targets: ClassVar[int] = 1
    directions: ClassVar[int] = 1

    version: Literal[1] = 1
    temperature: Positive
    queue: Count
    """Keys kept as negatives."""
    momentum: Momentum
    """Momentum of the key encoder: first and last value, cosine in between."""
