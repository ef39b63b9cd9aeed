"""The one interface of pair strategies: every hook does nothing until a strategy says otherwise.

Order of composition (only single strategies are defined by the papers; the order of several is ours):
items: SPPS lengthens the list, GPS then chooses partners for items whose two sources are the same image;
inputs: MixCo mixes the augmented, normalised views, CLAE attacks view 1 of the same batch;
loss: (1 - w_D) * [base + w_M * mixed + w_A * adversarial] + w_D * dimensional.
Extra views never reach a queue, a momentum encoder or DimCL, and each strategy draws from a stream of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sslpairs.methods.base import BaseMethod, Emb


@dataclass
class Step:
    """What a strategy may use of a training step."""

    method: BaseMethod
    xs: Sequence[Tensor]
    """The two augmented, normalised views, each ``[N, C, H, W]``."""
    clean: Sequence[Emb] = ()
    """Their embeddings, once they are made."""
    mixed: Sequence[Emb | None] = ()
    """Embeddings of the mixed images of each view."""
    draws: dict[str, torch.Generator] = field(default_factory=dict)
    """Strategy name -> its own random stream, on the views' device."""


class Pairs:
    """A pair strategy."""

    name: str

    def wrap(self, method: BaseMethod) -> None:
        """Change the networks before training."""

    def prepare(self, embed: Callable[[], Tensor], draws: torch.Generator) -> str:
        """Use the guide's embedding of all training images ``[N, D]``; answers one line for the log."""
        return ""

    def items(self, items: Tensor, draws: torch.Generator) -> Tensor:
        """The list of items, int64 ``[M, 2]``: sources of view 1 and view 2."""
        return items

    def partners(self, items: Tensor, draws: torch.Generator) -> Tensor:
        """Sources of a batch of items ``[B, 2]``, drawn anew at every fetch."""
        return items

    def expand(self, step: Step) -> list[Tensor | None]:
        """Mixed images for each view, or None."""
        return [None] * len(step.xs)

    def term(self, step: Step) -> tuple[Tensor, float] | None:
        """A further term of the loss, and its weight."""
        return None

    def combine(self, total: Tensor, step: Step) -> Tensor:
        """The outermost change of the total loss."""
        return total
