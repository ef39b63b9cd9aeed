"""Base class of the settings of all kinds of data sets."""

from abc import abstractmethod
from typing import Any

from sslpairs.config.base import Model


class Source(Model):
    """Settings of a source: where images come from, and the size to which they are resized.

    ``kind`` is the name of its file, with hyphens. The file of the same name in ``sslpairs.data.kinds`` has
    ``source_path(name, source, root)``, which returns the path that must exist (or None), and ``open_source(name, source, root)``,
    which returns an ``Opened``.
    """

    kind: str

    @abstractmethod
    def image(self) -> tuple[int, int]:
        """Return the channels and the side of the square images in pixels."""

    def counts(self) -> tuple[int, int] | None:
        """Return the number of training and test images if the settings determine it."""

    def record(self) -> dict[str, Any]:
        """Return the entry for receipts: all settings that determine the images."""
        return self.model_dump()
