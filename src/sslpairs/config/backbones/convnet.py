"""A small plain network."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.backbones.base import BackboneSettings, Conv, halved
from sslpairs.config.base import Width


class ConvNetSettings(BackboneSettings):
    """A small plain network: 3x3 convolutions of stride 2, each with batch norm and ReLU, then a global mean."""

    kind: Literal["convnet"]
    widths: Annotated[list[Width], Field(min_length=1, max_length=6)]

    @property
    def label(self) -> str:
        """Name printed in tables."""
        return "conv " + "-".join(map(str, self.widths))

    def layers(self, size: int, channels: int) -> list[Conv]:
        """One convolution per width."""
        convolutions = []
        for width in self.widths:
            size = halved(size)
            convolutions.append(Conv(channels, width, 3, size))
            channels = width
        return convolutions
