"""Queues of embeddings from earlier batches.

Lightly's memory bank keeps its content in a buffer that is not in checkpoints, so a resumed run would start with an empty
one; these are buffers of the method.
"""

import torch
from torch import Tensor


@torch.no_grad()
def enqueue(queue: Tensor, oldest: Tensor, new: Tensor) -> None:
    """Replace the oldest rows of a ring ``[..., K, D]`` with the newest rows ``[..., N, D]``, as many as fit.

    ``oldest`` is a scalar tensor with the oldest row's index; both are updated in place, without waiting for the device.
    """
    size = queue.shape[-2]
    new = new[..., -size:, :]
    rows = (oldest + torch.arange(new.shape[-2], device=queue.device)) % size
    queue.index_copy_(queue.ndim - 2, rows, new.to(queue.dtype))
    oldest.add_(new.shape[-2]).remainder_(size)
