"""The whole batch, where several processes have a share of its rows each.

Process r of P has the rows r, r + P, r + 2P and so on of every batch. So rows i and i + N/2, which MixCo mixes, are of the
same process wherever 2P divides N. Networks see the share, objectives the whole batch: every process gathers the
embeddings of all and computes the same loss, whatever a method or strategy makes of them (negatives, queues, centres, codes,
correlations). One process alone has all rows, and nothing here does anything.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from sslpairs.methods.base import Emb
from sslpairs.team import current


def share(start: int = 0, stop: int | None = None) -> slice:
    """Which rows of a batch this process has; of a batch that is the rows ``start`` to ``stop`` of something, where given."""
    team = current()
    return slice(start + team.rank, stop, team.size)


class _Gather(torch.autograd.Function):
    """Tensors of one shape from all processes, ``[...]`` to ``[P, ...]``.

    Its gradient is that of the sum of all processes' losses, as in ``torch.distributed.nn``, in one collective each way.
    """

    @staticmethod
    def forward(ctx, own: Tensor) -> Tensor:
        size = current().size
        found = own.new_empty(size * own.numel())
        dist.all_gather_into_tensor(found, own.flatten())
        return found.view(size, *own.shape)

    @staticmethod
    def backward(ctx, slope: Tensor) -> Tensor:
        own = slope.new_empty(slope[0].numel())
        dist.reduce_scatter_tensor(own, slope.flatten())
        return own.view(slope.shape[1:])


def gather(own: Tensor) -> Tensor:
    """Tensors of one shape from all processes: ``[...]`` to ``[P, ...]``, in the order of ranks.

    The gradient of the sum of the processes' losses flows back to each of them.
    """
    return _Gather.apply(own)


def normalise(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """A batch norm by the statistics of the whole batch, of which every process has an equal share ``x`` ``[N/P, C, ...]``.

    Gives the normalised share, and the whole batch's mean and biased variance ``[C]``, at least in float32.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    own = torch.stack(torch.var_mean(wide, [0, *range(2, x.dim())], correction=0))
    variances, means = gather(own).unbind(1)
    mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
    scale = (variance + eps).rsqrt()
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    shape = [1, -1] + [1] * (x.dim() - 2)
    return torch.addcmul(shift.view(shape), wide, scale.view(shape)).to(x.dtype), mean, variance


def standardise(z: Tensor) -> Tensor:
    """A batch norm with nothing to learn and no running statistics: ``[N, D]``, of several processes each one's share."""
    return F.batch_norm(z, None, None, training=True) if current().size == 1 else normalise(z, None, None, 1e-5)[0]


def whole_rows(shares: Sequence[Tensor]) -> list[Tensor]:
    """The whole batch of each tensor ``[N/P, ...]`` of which every process has its share: ``[N, ...]``, with gradient.

    All of one type travel together.
    """
    shares = list(shares)
    team = current()
    if team.size == 1:
        return shares
    kinds: dict[tuple, list[int]] = {}
    for place, value in enumerate(shares):
        kinds.setdefault((value.dtype, value.requires_grad), []).append(place)
    for places in kinds.values():
        pieces = gather(torch.cat([shares[place].flatten() for place in places]))
        pieces = pieces.split([shares[place].numel() for place in places], dim=1)
        for place, piece in zip(places, pieces, strict=True):
            shares[place] = piece.view(team.size, *shares[place].shape).transpose(0, 1).flatten(0, 1)
    return shares


def whole_batches(shares: Sequence[Emb | None]) -> list[Emb | None]:
    """Embeddings of whole batches from those of each process's share."""
    if current().size == 1:
        return list(shares)
    parts = [emb.parts() if emb else {} for emb in shares]
    rows = iter(whole_rows([value for part in parts for value in part.values()]))
    return [
        emb and replace(emb, **{name: next(rows) for name in part}) for emb, part in zip(shares, parts, strict=True)
    ]


def whole_batch(share: Emb) -> Emb:
    """The embedding of a whole batch from that of each process's share."""
    return whole_batches([share])[0]
