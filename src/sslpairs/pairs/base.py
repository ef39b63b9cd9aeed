"""The one interface of pair strategies: every hook does nothing until a strategy says otherwise.

Order of composition (only single strategies are defined by the papers; the order of several is ours):
items: SPPS lengthens the list, GPS then chooses partners for items whose two sources are the same image;
inputs: MixCo mixes the augmented, normalised views, CLAE attacks view 1 of the same batch;
loss: (1 - w_D) * [base + w_M * mixed + w_A * adversarial] + w_D * dimensional (for SwAV and DINO, base and mixed cross
entropies are averaged together).
Extra views never reach a queue, a bank, a centre, a momentum encoder or DimCL, and each strategy draws from a stream of
its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sslpairs.distributed.gather import share
from sslpairs.distributed.processes import current_world
from sslpairs.methods.base import BaseMethod, Emb
from sslpairs.methods.whole import whole_batches


@dataclass
class Step:
    """What a strategy may use of a training step."""

    method: BaseMethod
    xs: Sequence[Tensor]
    """The augmented, normalised views: two large ones ``[N, C, H, W]``, and perhaps small ones after them."""
    clean: Sequence[Emb] = ()
    """Their embeddings, once they are made: of the whole batch, where several processes have a share of ``xs`` each."""
    mixed: Sequence[Emb | None] = ()
    """Embeddings of the mixed images of each view."""
    draws: dict[str, torch.Generator] = field(default_factory=dict)
    """Strategy name -> its own random stream, a generator of the CPU."""
    given: dict[str, Any] = field(default_factory=dict)
    """Strategy name -> what is to be used instead of a draw: for ``mixco`` shares by view, ``{0: [N/2], 1: [N/2]}``, of the
    whole batch."""
    bounds: tuple[Tensor, Tensor] | None = None
    """Smallest and largest valid normalised pixel of each channel, each ``[C]``."""
    autocast: torch.dtype | None = None
    """A lower precision for the networks."""
    parts: dict[str, Tensor] = field(default_factory=dict)
    """Terms of the loss by name, detached, for whoever looks: base, mixco, clae, dimcl."""

    @property
    def rows(self) -> int:
        """N of the whole batch, of which ``xs`` are this process's share."""
        return len(self.xs[0]) * current_world().size

    def share(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor over the whole batch, or half of it."""
        return whole[share()]

    def gather(self, own: Emb) -> Emb:
        """The embedding of the whole batch from that of each process's share."""
        return whole_batches([own])[0]

    def network_precision(self) -> torch.autocast:
        """The context in which networks see images; objectives are computed outside of it."""
        return torch.autocast(self.xs[0].device.type, self.autocast, enabled=self.autocast is not None)


class Pairs:
    """A pair strategy."""

    name: str
    rebuild_every: int | None = None
    """Epochs after which ``rebuild`` is called again."""

    def wrap(self, method: BaseMethod) -> None:
        """Change the networks before training."""

    def unwrap(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The backbone's weights as they are without what ``wrap`` has changed."""
        return weights

    def prepare(self, embed: Callable[[], Tensor], draws: torch.Generator) -> str:
        """Use the guide's embedding of all training images ``[N, D]``; answers one line for the log."""
        return ""

    def rebuild(self, embed: Callable[[str], Tensor]) -> None:
        """Use the embedding of all training images ``[N, D]`` under the network in training, by name of its layer."""

    def items(self, items: Tensor, draws: torch.Generator) -> Tensor:
        """The list of items, int64 ``[M, 2]``: sources of view 1 and view 2."""
        return items

    def partners(self, items: Tensor, draws: torch.Generator) -> Tensor:
        """Sources of a batch of items ``[B, 2]``, drawn anew at every fetch."""
        return items

    def expand(self, step: Step) -> list[Tensor | None]:
        """Mixed images for each view, or None."""
        return [None] * len(step.xs)

    def combine(self, total: Tensor, step: Step) -> Tensor:
        """The loss so far, with this strategy's part in it. Strategies are asked in the order of composition."""
        return total

    def state(self) -> dict[str, Tensor]:
        """What changes while a run trains, for resuming."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a saved state."""
