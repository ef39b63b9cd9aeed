"""The loss on several processes (``docs/several-gpus.md``): gradients from the rows of all of them."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sslpairs.methods.base import BaseMethod
from sslpairs.pairs.base import Step
from sslpairs.training.step import step_loss


class _Loss(nn.Module):
    """``step_loss`` as the forward pass of a module, which is what DistributedDataParallel wraps."""

    def __init__(self, method: BaseMethod):
        super().__init__()
        self.method = method

    def forward(self, *arguments) -> Tensor:
        total, self.step = step_loss(self.method, *arguments)
        return total


def shared_loss(method: BaseMethod) -> Callable[..., tuple[Tensor, Step]]:
    """A ``step_loss`` of this method (it ignores its first argument) whose gradients are those of the whole batch on every process.

    Each process's backward pass gives the gradient of the sum of P equal losses with respect to its own rows; their mean over the
    processes, which DistributedDataParallel computes, is the gradient of the loss. Weights are synchronised first.
    """
    wrapped = DistributedDataParallel(_Loss(method), broadcast_buffers=False)

    def loss_of(method: BaseMethod, *arguments) -> tuple[Tensor, Step]:
        return wrapped(*arguments), wrapped.module.step

    return loss_of
