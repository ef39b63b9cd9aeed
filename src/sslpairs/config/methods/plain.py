"""Plain: contrastive loss within a batch, in one direction."""

from typing import ClassVar, Literal

from sslpairs.config.base import Positive
from sslpairs.config.methods.base import Method


class PlainSettings(Method):
    """Settings of ``methods/plain.py``."""

    title: ClassVar[str] = "Plain"
    directions: ClassVar[int] = 1

    version: Literal[1] = 1
    temperature: Positive
