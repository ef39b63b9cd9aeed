"""torchvision's ResNets."""

from typing import Literal

from sslpairs.config.backbones.base import BackboneSettings, Conv, halved

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class ResNetSettings(BackboneSettings):
    """torchvision's ResNet without its classifier."""

    kind: Literal["resnet"]
    depth: Literal[18, 34, 50]
    stem: Literal["cifar", "imagenet"]
    """``cifar``: 3x3 convolution of stride 1 and no max-pooling, for small images; ``imagenet``: the standard one."""

    @property
    def label(self) -> str:
        """Name printed in tables."""
        return f"ResNet-{self.depth}" + (" (3x3 stem)" if self.stem == "cifar" else "")

    def layers(self, size: int, channels: int) -> list[Conv]:
        """As in torchvision's ``resnet.py``: basic blocks up to depth 34, bottlenecks with the stride in their 3x3 from depth 50."""
        small, deep = self.stem == "cifar", self.depth >= 50
        edge = size if small else halved(size)
        convolutions = [Conv(channels, 64, 3 if small else 7, edge)]
        edge, inputs = edge if small else halved(edge), 64  # the standard stem's max-pooling
        for stage, blocks in enumerate(BLOCKS[self.depth]):
            width = 64 << stage
            outputs = 4 * width if deep else width
            for block in range(blocks):
                before, edge = edge, halved(edge) if stage and not block else edge
                convolutions += (
                    [Conv(inputs, width, 1, before), Conv(width, width, 3, edge)]
                    if deep
                    else [Conv(inputs, width, 3, edge)]
                )
                if edge != before or inputs != outputs:
                    convolutions.append(Conv(inputs, outputs, 1, edge))
                convolutions.append(Conv(width, outputs, 1 if deep else 3, edge))
                inputs = outputs
        return convolutions
