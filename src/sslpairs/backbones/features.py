"""Features of images under a frozen network."""

import torch
from torch import Tensor, nn

from sslpairs.views.augment import normalize


@torch.no_grad()
def features(network: nn.Module, images: Tensor, mean: Tensor, std: Tensor, block: int = 1024) -> Tensor:
    """Features ``[N, D]``, float32, of un-augmented uint8 images ``[N, C, H, W]`` in evaluation mode.

    Blocks bound the memory. The network is left in the mode in which it came.
    """
    training = network.training
    network.eval()
    parts = []
    for part in images.split(block):
        x = normalize(part.float() / 255, mean, std).contiguous(memory_format=torch.channels_last)
        parts.append(network(x).float())
    network.train(training)
    return torch.cat(parts)
