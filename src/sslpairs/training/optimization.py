"""Optimisers and learning-rate schedules of the recipes."""

import math
from collections.abc import Iterable

import torch
from lightly.utils.lars import LARS
from torch import nn

from sslpairs.config import recipes


def base_rate(how: recipes.Optimizer, batch_size: int) -> float:
    """The learning rate at its peak: scaled by the batch size where the recipe asks for it."""
    return how.lr * (batch_size / how.reference_batch if how.reference_batch else 1)


def build_optimizer(how: recipes.Optimizer, modules: Iterable[nn.Module], batch_size: int) -> torch.optim.Optimizer:
    """An optimiser for all parameters of some networks."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    rate = base_rate(how, batch_size)
    if how.name == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=how.momentum, weight_decay=how.weight_decay)
    if how.name == "adam":
        return torch.optim.Adam(parameters, rate, weight_decay=how.weight_decay)
    # Lightly's LARS adapts the rate only where there is weight decay, so vectors (biases, norms) go without it.
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": how.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return LARS(groups, rate, momentum=how.momentum, trust_coefficient=how.trust_coefficient)


def rate_factor(how: recipes.Schedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """What the peak learning rate is multiplied with in a step, counted from 0. A function of the step alone."""
    warmup = round(how.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / warmup
    if how.name == "constant":
        return 1.0
    if how.name == "steps":
        return how.factor ** sum(step >= milestone * steps_per_epoch for milestone in how.milestones)
    progress = (step - warmup) / max(1, epochs * steps_per_epoch - warmup)
    return how.final + (1 - how.final) * (1 + math.cos(math.pi * progress)) / 2


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use this learning rate from now on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
