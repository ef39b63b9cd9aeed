"""Backbones and the heads on top of them."""

from typing import Annotated, Literal

from pydantic import Field

from sslpairs.config.base import Model, Width


class ConvNet(Model):
    """A small plain network: 3x3 convolutions of stride 2, each with batch norm and ReLU, then a global mean."""

    kind: Literal["convnet"]
    widths: Annotated[list[Width], Field(min_length=1, max_length=6)]

    @property
    def label(self) -> str:
        """What tables print."""
        return "conv " + "-".join(map(str, self.widths))


class ResNet(Model):
    """torchvision's ResNet without its classifier."""

    kind: Literal["resnet"]
    depth: Literal[18, 34, 50]
    stem: Literal["cifar", "imagenet"]
    """``cifar``: 3x3 convolution of stride 1 and no max-pooling, for small images; ``imagenet``: the standard one."""

    @property
    def label(self) -> str:
        """What tables print."""
        return f"ResNet-{self.depth}" + (" (3x3 stem)" if self.stem == "cifar" else "")


Backbone = Annotated[ConvNet | ResNet, Field(discriminator="kind")]


class Head(Model):
    """A multi-layer perceptron on the features: linear, optional batch norm, ReLU, ..., linear, optional batch norm."""

    hidden: Annotated[list[Width], Field(max_length=16)]
    output: Width
    batch_norm: bool
    """After every hidden layer."""
    last_batch_norm: bool | Literal["fixed"]
    """After the output layer; ``fixed`` has no scale and shift to learn (SimSiam)."""
