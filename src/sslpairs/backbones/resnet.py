"""torchvision's ResNets."""

from torch import nn

from sslpairs.config.backbones.resnet import ResNetSettings


def build(settings: ResNetSettings, channels: int, size: int) -> tuple[nn.Module, int]:
    """Fresh weights from torch's global generator. Images may have any ``size``."""
    from torchvision import models

    network = getattr(models, f"resnet{settings.depth}")(weights=None)
    if settings.stem == "cifar":
        network.conv1 = nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
        network.maxpool = nn.Identity()
    elif channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    if network.conv1.weight.shape[1] != 3 or settings.stem == "cifar":
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    width = network.fc.in_features
    network.fc = nn.Identity()
    return network, width
