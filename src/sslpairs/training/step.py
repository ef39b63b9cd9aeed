"""One training step: a base method with its pair strategies. ``docs/steps.md`` shows how to run one by hand."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sslpairs.config.strategies import STRATEGIES
from sslpairs.methods.base import BaseMethod, TrainProgress
from sslpairs.methods.whole import whole_batches
from sslpairs.pairs.base import Pairs, Step


def step_loss(
    method: BaseMethod,
    pairs: Sequence[Pairs],
    xs: Sequence[Tensor],
    draws: dict[str, torch.Generator] | None = None,
    progress: TrainProgress = TrainProgress(),  # noqa: B008 (a frozen value)
    given: dict[str, Any] | None = None,
    bounds: tuple[Tensor, Tensor] | None = None,
    autocast: torch.dtype | None = None,
) -> tuple[Tensor, Step]:
    """The total loss of a batch, ready for backward, and everything it was computed from.

    ``xs`` are the augmented, normalised views, each ``[N, C, H, W]``: two large ones, then small ones if the method has
    them. ``draws`` holds a random stream (on the CPU) for each strategy by name; ``given`` holds values used instead of a
    draw (``Step.given``). Each strategy must have wrapped the method first (``strategy.wrap(method)``); they are called in
    the order of composition, regardless of the order of ``pairs``. ``bounds`` are the valid pixels, for clipped attacks
    (``Step.bounds``). ``autocast`` is a lower precision for the networks; objectives and attacks are computed in at least
    float32. If several processes each have a share of the views' rows (``methods/whole.py``), the loss on each of them is that of
    the whole batch. Of the state in a checkpoint, this changes only momentum encoders that are updated before the step, the
    prototypes' lengths and the batch norm statistics.
    """
    pairs = sorted(pairs, key=lambda strategy: list(STRATEGIES).index(strategy.name))
    method.before_step(progress)
    step = Step(method, xs, draws=draws or {}, given=given or {}, bounds=bounds, autocast=autocast)
    mixed: list[Tensor | None] = [None] * len(xs)
    for strategy in pairs:
        made = strategy.extra_views(step)
        mixed = [new if new is not None else old for new, old in zip(made, mixed, strict=True)]
    with step.network_precision():
        clean, extra = method.views(step.xs, mixed)
    embs = whole_batches([emb and emb.float() for emb in (*clean, *extra)])
    step.clean, step.mixed = embs[: len(clean)], embs[len(clean) :]
    total = method.loss(step.clean)
    step.parts["base"] = total.detach()
    for strategy in pairs:
        total = strategy.add_loss(total, step)
    return total, step


def train_step(
    method: BaseMethod,
    pairs: Sequence[Pairs],
    xs: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    draws: dict[str, torch.Generator] | None = None,
    progress: TrainProgress = TrainProgress(),  # noqa: B008
    given: dict[str, Any] | None = None,
    bounds: tuple[Tensor, Tensor] | None = None,
    autocast: torch.dtype | None = None,
    loss_of: Callable[..., tuple[Tensor, Step]] = step_loss,
) -> tuple[Tensor, Step]:
    """A full step: loss, gradients, the optimiser, then queues, banks, centres and momentum encoders.

    Arguments as for ``step_loss``, which several processes replace by a ``loss_of`` that gives each of them the gradients of the
    whole batch. Returns the loss, detached.
    """
    loss, step = loss_of(method, pairs, xs, draws, progress, given, bounds, autocast)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    method.after_backward(progress)
    optimizer.step()
    method.after_step(step.clean, progress)
    return loss.detach(), step
