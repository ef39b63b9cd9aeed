"""Queues of embeddings from earlier batches.

Lightly's memory bank keeps its content in a buffer that no checkpoint holds, so that a resumed run would start with an
empty one; these are buffers of the method.
"""

import torch
from torch import Tensor


@torch.no_grad()
def enqueue(queue: Tensor, oldest: Tensor, new: Tensor) -> None:
    """The newest rows ``[..., N, D]`` replace the oldest ones of a ring ``[..., K, D]``, as many as fit.

    ``oldest`` is a scalar tensor that holds the oldest row's place; both change in place, without waiting for the device.
    """
    size = queue.shape[-2]
    new = new[..., -size:, :]
    places = (oldest + torch.arange(new.shape[-2], device=queue.device)) % size
    queue.index_copy_(queue.ndim - 2, places, new.to(queue.dtype))
    oldest.add_(new.shape[-2]).remainder_(size)
