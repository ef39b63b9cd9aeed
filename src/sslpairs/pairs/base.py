"""The interface of pair strategies: every hook is a no-op unless a strategy overrides it.

Order of composition (the papers define only single strategies; the order of several is ours):
items: SPPS extends the list, GPS then chooses partners for items whose two sources are the same image;
inputs: MixCo mixes the augmented, normalised views, CLAE attacks view 1 of the same batch;
loss: (1 - w_D) * [base + w_M * mixed + w_A * adversarial] + w_D * dimensional (for SwAV and DINO, base and mixed cross
entropies are averaged together).
Extra views never enter a queue, a bank, a centre, a momentum encoder or DimCL, and each strategy draws from its own random
stream.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sslpairs.distributed.gather import share
from sslpairs.distributed.processes import current_world
from sslpairs.methods.base import BaseMethod, Embeddings
from sslpairs.methods.whole import whole_batches


@dataclass
class Step:
    """The data of a training step that a strategy may use."""

    method: BaseMethod
    xs: Sequence[Tensor]
    """The augmented, normalised views: two large ones ``[N, C, H, W]``, optionally followed by small ones."""
    clean: Sequence[Embeddings] = ()
    """Their embeddings, once computed: of the whole batch, even if several processes each have a share of ``xs``."""
    mixed: Sequence[Embeddings | None] = ()
    """Embeddings of the mixed images of each view."""
    draws: dict[str, torch.Generator] = field(default_factory=dict)
    """Strategy name -> its own random stream, a CPU generator."""
    given: dict[str, Any] = field(default_factory=dict)
    """Strategy name -> values used instead of a draw: for ``mixco`` shares by view, ``{0: [N/2], 1: [N/2]}``, of the whole
    batch."""
    bounds: tuple[Tensor, Tensor] | None = None
    """Smallest and largest valid normalised pixel of each channel, each ``[C]``."""
    autocast: torch.dtype | None = None
    """A lower precision for the networks."""
    parts: dict[str, Tensor] = field(default_factory=dict)
    """Terms of the loss by name, detached, for inspection: base, mixco, clae, dimcl."""

    @property
    def rows(self) -> int:
        """N of the whole batch, of which ``xs`` is this process's share."""
        return len(self.xs[0]) * current_world().size

    def share(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor over the whole batch, or half of it."""
        return whole[share()]

    def gather(self, own: Embeddings) -> Embeddings:
        """The embedding of the whole batch, gathered from each process's share."""
        return whole_batches([own])[0]

    def network_precision(self) -> torch.autocast:
        """Autocast context for the networks; objectives are computed outside of it."""
        return torch.autocast(self.xs[0].device.type, self.autocast, enabled=self.autocast is not None)


class Pairs:
    """A pair strategy."""

    name: str
    rebuild_every: int | None = None
    """``rebuild`` is called again every this many epochs."""

    def wrap(self, method: BaseMethod) -> None:
        """Modify the networks before training."""

    def unwrap(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The backbone's weights without the changes made by ``wrap``."""
        return weights

    def prepare(self, embed: Callable[[], Tensor], draws: torch.Generator) -> str:
        """Use the guide's embedding of all training images ``[N, D]``; returns one line for the log."""
        return ""

    def rebuild(self, embed: Callable[[str], Tensor]) -> None:
        """Use the embedding of all training images ``[N, D]`` under the network in training, by layer name."""

    def pair_indices(self, indices: Tensor, draws: torch.Generator) -> Tensor:
        """The items of an epoch as pairs of image indices, int64 ``[M, 2]``: the sources of view 1 and view 2."""
        return indices

    def sample_positives(self, indices: Tensor, draws: torch.Generator) -> Tensor:
        """The pairs of image indices of a batch ``[B, 2]``, with positives that are drawn again at every fetch."""
        return indices

    def extra_views(self, step: Step) -> list[Tensor | None]:
        """Extra images to embed with each view (mixed ones), or None."""
        return [None] * len(step.xs)

    def add_loss(self, total: Tensor, step: Step) -> Tensor:
        """Add this strategy's term to the loss so far. Strategies are called in the order of composition."""
        return total

    def state(self) -> dict[str, Tensor]:
        """State that changes during training, for resuming."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state."""
