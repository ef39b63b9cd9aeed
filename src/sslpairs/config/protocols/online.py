"""The ``online`` protocol: a linear layer that learns beside the backbone; its settings are the training's (``training.online``)."""

from typing import ClassVar

from sslpairs.config.protocols.base import Protocol


class Online(Protocol):
    """It has no settings of its own: ``evaluation/online.py`` copies what the training measured."""

    title: ClassVar[str] = "online"
    about: ClassVar[str] = "linear layer trained beside the backbone on detached features"
    while_training: ClassVar[bool] = True
