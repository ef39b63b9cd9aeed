"""Base class of all backbone settings."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple, Protocol

from sslpairs.config.base import Model


class Layer(Protocol):
    """A part of a network, as far as time and memory are concerned."""

    @property
    def outputs(self) -> int:
        """Number of channels of its output."""

    @property
    def parameters(self) -> int:
        """Number of weights, biases and the like."""

    @property
    def products(self) -> int:
        """Multiply-adds for one image."""

    @property
    def kept(self) -> int:
        """Values kept for the backward pass, per image."""


class Conv(NamedTuple):
    """A square convolution without bias, followed by a batch norm."""

    inputs: int
    outputs: int
    kernel: int
    edge: int
    """Side of the output, in pixels."""

    @property
    def weights(self) -> int:
        """Number of weights of the convolution."""
        return self.kernel**2 * self.inputs * self.outputs

    @property
    def parameters(self) -> int:
        """Weights, and the norm's scales and shifts."""
        return self.weights + 2 * self.outputs

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
    ``build(settings, channels, size)``, which returns a network ``[B, channels, size, size] -> [B, D]`` and D."""

    one_size: ClassVar[bool] = False
    """Whether the network takes no images of another side than the one it was built for."""

    kind: str

    @property
    def label(self) -> str:
        """Name printed in tables."""
        return self.kind

    @abstractmethod
    def layers(self, size: int, channels: int) -> list[Layer]:
        """Return the layers on images ``[channels, size, size]``, the last of which gives the features. Time and memory are estimated
        from them."""

    def problem(self, size: int) -> tuple[str, str] | None:
        """Return a key of these settings, and why the network cannot take images of this side and what to do; None if it can."""
        return None


def halved(edge: int) -> int:
    """Side after a stride of 2 with padding of half a kernel."""
    return -(-edge // 2)
