"""Shares of a batch's rows, and the whole batch gathered from them.

Rank r of P has the rows r, r + P, r + 2P and so on of every batch. So rows i and i + N/2, which MixCo mixes, are on the same
rank whenever 2P divides N. Networks see the share, objectives the whole batch: every rank gathers the embeddings of all and
computes the same loss, whatever a method or strategy does with them (negatives, queues, centres, codes, correlations). With
one process all of this is a no-op.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from sslpairs.distributed.processes import current_world


def share(start: int = 0, stop: int | None = None) -> slice:
    """This process's rows of a batch, or of the rows ``start`` to ``stop``."""
    world = current_world()
    return slice(start + world.rank, stop, world.size)


class _Gather(torch.autograd.Function):
    """Tensors of one shape from all processes, ``[...]`` to ``[P, ...]``.

    Its gradient is that of the sum of all processes' losses, as in ``torch.distributed.nn``, with one collective each way.
    """

    @staticmethod
    def forward(ctx, own: Tensor) -> Tensor:
        size = current_world().size
        gathered = own.new_empty(size * own.numel())
        dist.all_gather_into_tensor(gathered, own.flatten())
        return gathered.view(size, *own.shape)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        own = grad.new_empty(grad[0].numel())
        dist.reduce_scatter_tensor(own, grad.flatten())
        return own.view(grad.shape[1:])


def gather(own: Tensor) -> Tensor:
    """Tensors of one shape from all processes: ``[...]`` to ``[P, ...]``, in the order of ranks.

    The gradient of the sum of the processes' losses flows back to each of them.
    """
    return _Gather.apply(own)


def whole_rows(shares: Sequence[Tensor]) -> list[Tensor]:
    """Gathered rows of tensors ``[N/P, ...]`` of which every process has its share: ``[N, ...]`` each, with gradients.

    Tensors of the same dtype are gathered together.
    """
    shares = list(shares)
    world = current_world()
    if world.size == 1:
        return shares
    kinds: dict[tuple, list[int]] = {}
    for index, value in enumerate(shares):
        kinds.setdefault((value.dtype, value.requires_grad), []).append(index)
    for indices in kinds.values():
        pieces = gather(torch.cat([shares[index].flatten() for index in indices]))
        pieces = pieces.split([shares[index].numel() for index in indices], dim=1)
        for index, piece in zip(indices, pieces, strict=True):
            shares[index] = piece.view(world.size, *shares[index].shape).transpose(0, 1).flatten(0, 1)
    return shares
