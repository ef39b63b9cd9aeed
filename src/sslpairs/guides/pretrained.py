"""Features of the training images under an encoder that others have trained."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslpairs.backbones.features import features
from sslpairs.backbones.pretrained import load_pretrained
from sslpairs.config.guides import WeightsGuide
from sslpairs.data.arrays import ImageData
from sslpairs.data.weights import find_weights

PIXELS = 1024 * 32**2
"""Pixels of a channel in one forward pass."""


class Resized(nn.Module):
    """A network for colour images of one size, for images ``[N, C, H, W]`` of any size, grey ones too."""

    def __init__(self, network: nn.Module, size: int):
        super().__init__()
        self.network, self.size = network, size

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        return self.network(x.expand(-1, 3, -1, -1)).flatten(1)


def embed_under(guide: WeightsGuide, data: ImageData, root: Path) -> Tensor:
    """Embedding ``[N, D]`` of all training images, on the data's device, float32: pooled features of the whole image, squashed to a
    square of ``guide.size`` pixels (bilinear, antialiased; by default left as it is), with unit length for cosines.

    ``UserError`` if the weights are missing or do not fit, or if the network takes images of another size only.
    """
    images = data.train.images
    size = guide.size or images.shape[-1]
    network = load_pretrained(guide.encoder, find_weights(root, guide.encoder.sha256), size)
    mean, std = data.mean, data.std
    if guide.mean:
        mean, std = (torch.tensor(one, device=images.device) for one in (guide.mean, guide.std))
    resized = Resized(network, size).to(images.device)
    embedding = features(resized, images, mean, std, block=max(1, PIXELS // size**2))
    return F.normalize(embedding) if guide.distance == "cosine" else embedding
