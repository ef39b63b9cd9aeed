"""Base class of all backbone settings."""

from abc import abstractmethod
from typing import NamedTuple

from sslpairs.config.base import Model


class Conv(NamedTuple):
    """A square convolution without bias, followed by a batch norm."""

    inputs: int
    outputs: int
    kernel: int
    edge: int
    """Side of the output, in pixels."""

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.kernel**2 * self.inputs * self.outputs

    @property
    def products(self) -> int:
        """Multiply-adds for one image."""
        return self.weights * self.edge**2

    @property
    def kept(self) -> int:
        """Values kept for the backward pass, per image: the inputs of the norm and of the layer after its ReLU."""
        return 2 * self.outputs * self.edge**2


class BackboneSettings(Model):
    """Settings of a backbone. ``kind`` is the name of its file; the file of the same name in ``sslpairs.backbones`` has
    ``build(settings, channels)``, which returns a network ``[B, channels, H, W] -> [B, D]`` and D."""

    kind: str

    @property
    def label(self) -> str:
        """Name printed in tables."""
        return self.kind

    @abstractmethod
    def convolutions(self, size: int, channels: int) -> list[Conv]:
        """Return the convolutions on images ``[channels, size, size]``, from which time and memory are estimated."""


def halved(edge: int) -> int:
    """Side after a stride of 2 with padding of half a kernel."""
    return -(-edge // 2)
