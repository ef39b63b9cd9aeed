"""Batch norms over the rows of all processes, so that batch statistics are the same as on one device."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslpairs.distributed.gather import gather
from sslpairs.distributed.processes import current_world


def normalise(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm with the statistics of the whole batch, of which every process has an equal share ``x`` ``[N/P, C, ...]``.

    Returns the normalised share, and the whole batch's mean and biased variance ``[C]``, in at least float32.
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
    """A batch norm without parameters and running statistics: ``[N, D]``, or each process's share of it."""
    return (
        F.batch_norm(z, None, None, training=True) if current_world().size == 1 else normalise(z, None, None, 1e-5)[0]
    )


class WholeBatchNorm(_BatchNorm):
    """A batch norm over the rows of all processes, for CPUs, where torch's SyncBatchNorm does not work.

    Every process must have the same number of rows. Input ``[N/P, C, ...]``; parameters, buffers and their names are
    those of ``BatchNorm1d`` and ``BatchNorm2d``.
    """

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if not self.training:
            return super().forward(x)
        y, mean, variance = normalise(x, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self._update_running_stats(mean, variance, count=current_world().size * x.numel() // x.shape[1])
        return y

    def _check_input_dim(self, x: Tensor) -> None:
        """Accepts any input with channels."""

    @torch.no_grad()
    def _update_running_stats(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics, with the unbiased variance as in torch."""
        self.num_batches_tracked.add_(1)
        weight = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), weight)


def whole_norms(module: nn.Module, device: torch.device) -> None:
    """Replace every batch norm in a module by one over the rows of all processes, with the same parameters and statistics.

    So a recipe sees the same batch as on one device, for any number of processes: the base methods' official recipes
    synchronise their norms (or, MoCo, shuffle between them for the same purpose).
    """
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            norm = (nn.SyncBatchNorm if device.type == "cuda" else WholeBatchNorm)(child.num_features)
            norm.__dict__.update(child.__dict__)  # parameters, buffers and settings
            setattr(module, name, norm)
        else:
            whole_norms(child, device)
