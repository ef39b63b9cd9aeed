"""The ``online`` protocol: a linear layer trained along with the backbone; its settings are part of the training (``training.online``)."""

from typing import ClassVar

from sslpairs.config.protocols.base import Protocol


class OnlineSettings(Protocol):
    """No settings of its own: ``evaluation/online.py`` copies the values measured during training."""

    title: ClassVar[str] = "online"
    about: ClassVar[str] = "linear layer trained along with the backbone on detached features"
    while_training: ClassVar[bool] = True
