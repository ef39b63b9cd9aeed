"""Several processes train one run: batch norms over the whole batch, and gradients from all (``docs/several-gpus.md``)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from sslpairs.methods.base import BaseMethod
from sslpairs.methods.whole import normalise
from sslpairs.pairs.base import Step
from sslpairs.team import current
from sslpairs.training.step import step_loss


class WholeBatchNorm(_BatchNorm):
    """A batch norm over the rows of all processes, for CPUs, where torch's SyncBatchNorm does not work.

    Every process must have as many rows as the others. Input ``[N/P, C, ...]``; parameters, buffers and their names are
    those of ``BatchNorm1d`` and ``BatchNorm2d``.
    """

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        if not self.training:
            return super().forward(x)
        y, mean, variance = normalise(x, self.weight, self.bias, self.eps)
        if self.track_running_stats:
            self._follow(mean, variance, count=current().size * x.numel() // x.shape[1])
        return y

    def _check_input_dim(self, x: Tensor) -> None:
        """Whatever has channels."""

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Running statistics, of the unbiased variance as torch's."""
        self.num_batches_tracked.add_(1)
        weight = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), weight)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), weight)


def whole_norms(module: nn.Module, device: torch.device) -> None:
    """Make every batch norm inside one over the rows of all processes, with the same parameters and statistics.

    So a batch is to a recipe what it is on one device, whatever the number of processes: the base methods' official recipes
    synchronise their norms (or shuffle between them, MoCo, to the same end).
    """
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            norm = (nn.SyncBatchNorm if device.type == "cuda" else WholeBatchNorm)(child.num_features)
            norm.__dict__.update(child.__dict__)  # all that a batch norm is
            setattr(module, name, norm)
        else:
            whole_norms(child, device)


class _Loss(nn.Module):
    """``step_loss`` as the forward pass of a module, which is what DistributedDataParallel wraps."""

    def __init__(self, method: BaseMethod):
        super().__init__()
        self.method = method

    def forward(self, *how) -> Tensor:
        total, self.step = step_loss(self.method, *how)
        return total


def shared_loss(method: BaseMethod) -> Callable[..., tuple[Tensor, Step]]:
    """A ``step_loss`` of this method (it ignores its first argument) whose gradients are those of the whole batch on every process.

    Each process's backward pass gives the gradient of the sum of P equal losses through its own rows; the mean of these over
    the processes, which DistributedDataParallel takes, is the gradient of the loss. Weights are made equal first.
    """
    wrapped = DistributedDataParallel(_Loss(method), broadcast_buffers=False)

    def loss_of(method: BaseMethod, *how) -> tuple[Tensor, Step]:
        return wrapped(*how), wrapped.module.step

    return loss_of
