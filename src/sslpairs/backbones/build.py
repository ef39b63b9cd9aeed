"""Backbones: images in, one feature vector an image out."""

import torch
from torch import Tensor, nn

from sslpairs.config.networks import ConvNet, ResNet


def build_backbone(how: ConvNet | ResNet, channels: int) -> tuple[nn.Module, int]:
    """A network ``[B, channels, H, W] -> [B, D]`` with fresh weights from torch's global generator, and D."""
    network, width = _convnet(how, channels) if isinstance(how, ConvNet) else _resnet(how, channels)
    # Convolutions over channels-last memory are faster on the CPU (1.1 to 1.8 times here) and on tensor cores.
    return network.to(memory_format=torch.channels_last), width


class Layers(nn.Sequential):
    """Layers in a row, with a ``forward`` of its own: torch passes over that of ``nn.Sequential`` when it compiles."""

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return super().forward(x)


def _convnet(how: ConvNet, channels: int) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = []
    for width in how.widths:
        layers += [
            nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
    return Layers(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), channels


def _resnet(how: ResNet, channels: int) -> tuple[nn.Module, int]:
    from torchvision import models

    network = getattr(models, f"resnet{how.depth}")(weights=None)
    if how.stem == "cifar":
        network.conv1 = nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
        network.maxpool = nn.Identity()
    elif channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    if network.conv1.weight.shape[1] != 3 or how.stem == "cifar":
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    width = network.fc.in_features
    network.fc = nn.Identity()
    return network, width
