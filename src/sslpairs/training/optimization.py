"""Optimisers and learning-rate schedules of the recipes."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from sslpairs.config import recipes
from sslpairs.training.lars import LARS


def base_rate(settings: recipes.OptimizerSettings, batch_size: int) -> float:
    """The peak learning rate: scaled by the batch size if the recipe says so."""
    return settings.lr * (batch_size / settings.reference_batch if settings.reference_batch else 1)


def build_optimizer(
    settings: recipes.OptimizerSettings,
    modules: Iterable[nn.Module],
    batch_size: int,
    constant: Iterable[nn.Module] = (),
) -> torch.optim.Optimizer:
    """An optimiser for all parameters of some networks; those of ``constant`` keep the peak rate."""
    kept = {id(p) for module in constant for p in module.parameters()}
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    groups = [{"params": [p for p in parameters if id(p) not in kept], "constant": False}]
    if kept:
        groups.append({"params": [p for p in parameters if id(p) in kept], "constant": True})
    rate = base_rate(settings, batch_size)
    if settings.name == "sgd":
        sgd = torch.optim.SGD(groups, rate, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True)
        if settings.momentum:
            # From the start: the fused version cannot tell a layer that was frozen until now from a first step. The steps are the same.
            for p in parameters:
                sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return sgd
    if settings.name == "adam":
        return torch.optim.Adam(groups, rate, weight_decay=settings.weight_decay, fused=True)
    if settings.name == "adamw":
        groups = groups if settings.decay_vectors else [part for group in groups for part in _vectors_apart(group)]
        return torch.optim.AdamW(groups, rate, weight_decay=settings.weight_decay, fused=True)
    return LARS(
        groups,
        rate,
        settings.momentum,
        settings.weight_decay,
        settings.trust_coefficient,
        settings.clip,
        settings.adapt_vectors,
    )


def _vectors_apart(group: dict) -> list[dict]:
    """A group in two: its parameters of at least two dimensions, and the others, which are not decayed."""
    vectors = [p for p in group["params"] if p.ndim < 2]
    parts = [
        group | {"params": [p for p in group["params"] if p.ndim > 1]},
        group | {"params": vectors, "weight_decay": 0.0},
    ]
    return [part for part in parts if part["params"]]


def rate_factor(settings: recipes.Schedule, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Factor on the peak learning rate at a step, counted from 0. A function of the step alone."""
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    if settings.name == "constant":
        return (step + 1) / warmup if step < warmup else 1.0
    if settings.name == "steps":
        passed = [
            f
            for milestone, f in zip(settings.milestones, settings.factors, strict=True)
            if step >= milestone * steps_per_epoch
        ]
        return (step + 1) / warmup if step < warmup else passed[-1] if passed else 1.0
    if settings.each == "epoch":
        step -= step % steps_per_epoch
    if step < warmup:
        return settings.initial + (1 - settings.initial) * (step + 1) / warmup
    flat = warmup + round(settings.hold_epochs * steps_per_epoch)
    span = settings.span_epochs * steps_per_epoch if settings.span_epochs else epochs * steps_per_epoch - flat
    progress = min(1.0, max(0, step - flat) / max(1, span))
    return settings.final + (1 - settings.final) * (1 + math.cos(math.pi * progress)) / 2


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate, except for groups that keep their own."""
    for group in optimizer.param_groups:
        if not group["constant"]:
            group["lr"] = rate
