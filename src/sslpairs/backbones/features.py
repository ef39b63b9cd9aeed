"""Features of images: from a frozen network, or their pixels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslpairs.data.images import Images
from sslpairs.data.memory import free_on, in_bytes
from sslpairs.errors import UserError
from sslpairs.views.augment import normalize


@torch.no_grad()
def features(network: nn.Module, images: Images, mean: Tensor, std: Tensor, block: int = 1024) -> Tensor:
    """Features ``[N, D]``, float32, of all un-augmented images in evaluation mode.

    Blocks bound the memory. The network's mode is restored afterwards.
    """
    training = network.training
    network.eval()
    parts = []
    for part in images.blocks(block):
        x = normalize(part.float() / 255, mean, std).contiguous(memory_format=torch.channels_last)
        # Bypasses ``torch.compile``, which would recompile for evaluation mode and for each block size.
        parts.append(network.forward(x).float())
    network.train(training)
    return torch.cat(parts)


def pixels(
    images: Images,
    side: int | None = None,
    remedy: str = "use another guide, such as a random network or a checkpoint",
    block: int = 1024,
) -> Tensor:
    """All images flattened, on the scale 0 to 1: float32 ``[N, CHW]`` on their device. Those of more than ``side`` pixels a side are
    averaged down to it.

    UserError with a remedy if they do not fit, as for large photographs.
    """
    size = [min(length, side or length) for length in images.shape[2:]]
    shape = (len(images), images.shape[1] * math.prod(size))
    needed, free = 4 * math.prod(shape), free_on(images.device)
    if needed > free:
        raise UserError(
            f"the pixels of {len(images):,} images as features take {in_bytes(needed)}, but {images.device} has "
            f"{in_bytes(free)} free; {remedy}"
        )
    made, start = torch.empty(shape, device=images.device), 0
    for part in images.blocks(block):
        rows = made[start : start + len(part)]
        if size == list(images.shape[2:]):
            torch.div(part.flatten(1), 255, out=rows)
        else:
            rows.copy_(F.adaptive_avg_pool2d(part.float() / 255, size).flatten(1))
        start += len(part)
    return made
