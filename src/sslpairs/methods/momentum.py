"""Momentum encoders: networks that follow the trained one."""

import copy
import math

import torch
from lightly.models.utils import deactivate_requires_grad
from torch import nn


def follower_of(online: nn.Module) -> nn.Module:
    """A copy that is not trained by gradient."""
    copied = copy.deepcopy(online)
    deactivate_requires_grad(copied)
    return copied


def cosine_momentum(first: float, last: float, progress: float) -> float:
    """From ``first`` at progress 0 to ``last`` at progress 1, on half a cosine."""
    return last - (last - first) * (math.cos(math.pi * progress) + 1) / 2


@torch.no_grad()
def follow(follower: nn.Module, online: nn.Module, momentum: float) -> None:
    """Parameters become ``momentum * follower + (1 - momentum) * online``; buffers stay.

    Lightly's ``update_momentum`` pairs parameters by their order; here CLAE's adversarial norms, which the follower has
    no use for, are left out first.
    """
    leaders = [value for name, value in online.named_parameters() if ".adversarial." not in name]
    followers = list(follower.parameters())
    torch._foreach_mul_(followers, momentum)
    torch._foreach_add_(followers, leaders, alpha=1 - momentum)
