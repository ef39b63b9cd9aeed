"""What all kinds of data sets have in common."""

from typing import Any

from sslpairs.config.base import Model


class Source(Model):
    """What every source's settings hold: where images come from, and of which size they become.

    ``kind`` is the name of its file, with hyphens. In ``sslpairs.data.kinds`` a file of the same name has
    ``place(name, source, root)``, the path that must be there (None where nothing must), and ``open_source(name, source, root)``,
    which returns an ``Opened``.
    """

    kind: str

    def image(self) -> tuple[int, int]:
        """Channels, and side of the square images in pixels."""
        raise NotImplementedError

    def counts(self) -> tuple[int, int] | None:
        """Training and test images, where the settings alone tell."""

    def record(self) -> dict[str, Any]:
        """As receipts keep it: all settings that images come from."""
        return self.model_dump()
