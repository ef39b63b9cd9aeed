"""What all backbones have in common."""

from typing import NamedTuple

from sslpairs.config.base import Model


class Conv(NamedTuple):
    """A square convolution without bias, followed by a batch norm."""

    inputs: int
    outputs: int
    kernel: int
    edge: int
    """Of its output, in pixels."""

    @property
    def weights(self) -> int:
        """How many."""
        return self.kernel**2 * self.inputs * self.outputs

    @property
    def products(self) -> int:
        """Multiply-adds for one image."""
        return self.weights * self.edge**2

    @property
    def kept(self) -> int:
        """Numbers kept of one image: the inputs of the norm and of what comes after its ReLU."""
        return 2 * self.outputs * self.edge**2


class BackboneSettings(Model):
    """What every backbone's settings hold; ``kind`` is the name of its file, and in ``sslpairs.backbones`` a file of the same name
    has ``build(settings, channels)``, which returns a network ``[B, channels, H, W] -> [B, D]`` and D."""

    kind: str

    @property
    def label(self) -> str:
        """What tables print."""
        return self.kind

    def convolutions(self, size: int, channels: int) -> list[Conv]:
        """Its convolutions on images ``[channels, size, size]``, from which time and memory are estimated."""
        raise NotImplementedError


def halved(edge: int) -> int:
    """Edge after a stride of 2 with half a kernel's padding."""
    return -(-edge // 2)
