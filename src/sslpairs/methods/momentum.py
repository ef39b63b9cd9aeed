"""Momentum encoders: moving averages of the trained networks."""

import copy
import math

import torch
from lightly.models.utils import deactivate_requires_grad
from torch import nn


def ema_copy(online: nn.Module) -> nn.Module:
    """A copy whose parameters get no gradients."""
    copied = copy.deepcopy(online)
    deactivate_requires_grad(copied)
    return copied


def cosine_momentum(first: float, last: float, progress: float) -> float:
    """From ``first`` at progress 0 to ``last`` at progress 1, on a half cosine."""
    return last - (last - first) * (math.cos(math.pi * progress) + 1) / 2


@torch.no_grad()
def ema_update(average: nn.Module, online: nn.Module, momentum: float) -> None:
    """Set parameters to ``momentum * average + (1 - momentum) * online``; buffers are not updated.

    Lightly's ``update_momentum`` pairs parameters by order; here CLAE's adversarial norms, which the average does not have,
    are left out first.
    """
    current = [value for name, value in online.named_parameters() if ".adversarial." not in name]
    averages = list(average.parameters())
    torch._foreach_mul_(averages, momentum)
    torch._foreach_add_(averages, current, alpha=1 - momentum)
