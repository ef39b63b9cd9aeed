"""A small plain convolutional network."""

from torch import Tensor, nn

from sslpairs.config.backbones.convnet import ConvNetSettings


class Layers(nn.Sequential):
    """Sequential layers with their own ``forward``: torch.compile skips that of ``nn.Sequential``."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return super().forward(x)


def build(settings: ConvNetSettings, channels: int, size: int) -> tuple[nn.Module, int]:
    """Fresh weights from torch's global generator. Images may have any ``size``."""
    layers: list[nn.Module] = []
    for width in settings.widths:
        layers += [
            nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
    return Layers(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels
