"""UEL: instance discrimination within a batch."""

from typing import ClassVar, Literal

from sslpairs.config.base import Positive
from sslpairs.config.methods.base import Method


class UELSettings(Method):
    """Settings of ``methods/uel.py``."""

    title: ClassVar[str] = "UEL"

    version: Literal[1] = 1
    temperature: Positive
    m: Positive
    """Weight of the negatives."""
