"""One training step: a base method under its pair strategies."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sslpairs.methods.base import BaseMethod
from sslpairs.pairs.base import Pairs, Step


def step_loss(
    method: BaseMethod,
    pairs: Sequence[Pairs],
    x1: Tensor,
    x2: Tensor,
    draws: dict[str, torch.Generator],
    progress: float = 0.0,
) -> tuple[Tensor, Step]:
    """The total loss of a batch of two views, each augmented and normalised ``[N, C, H, W]``, ready for backward.

    ``draws`` holds a random stream for each strategy by name, on the views' device. Nothing but momentum encoders and the
    statistics of batch norms has changed afterwards; ``method.after_step(step.clean, progress)`` belongs after the
    optimiser's step.
    """
    method.before_step(progress)
    step = Step(method, (x1, x2), draws=draws)
    mixed: list[Tensor | None] = [None, None]
    for strategy in pairs:
        made = strategy.expand(step)
        mixed = [new if new is not None else old for new, old in zip(made, mixed, strict=True)]
    step.clean, step.mixed = method.views(step.xs, mixed)
    total = method.pair_loss(*step.clean)
    for strategy in pairs:
        term = strategy.term(step)
        if term is not None:
            value, weight = term
            total = total + weight * value
    for strategy in pairs:
        total = strategy.combine(total, step)
    return total, step
