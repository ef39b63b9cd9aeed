"""Plain instance discrimination within the batch, as in CLAE's released code (CLAE Plain/main.py:69-83).

Not in lightly, whose NTXentLoss contrasts both views with both.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslpairs.methods.base import BaseMethod, Embeddings


def plain_loss(u1: Tensor, u2: Tensor, temperature: float) -> Tensor:
    """Cross entropy of each row of view 1 with its own row of view 2 among all N: a scalar; u normalised ``[N, D]``.

    One direction, gradients into both views.
    """
    return F.cross_entropy(u1 @ u2.T / temperature, torch.arange(len(u1), device=u1.device))


class Plain(BaseMethod):
    """Plain; its objective is ``plain_loss`` on unit projections."""

    mixed_views = (0,)
    embeds_anchor_again = True

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return plain_loss(F.normalize(a.projection, dim=1), F.normalize(b.projection, dim=1), self.settings.temperature)

    def contrast(self, mixed: Embeddings, other: Embeddings, view: int) -> tuple[Tensor, Tensor, None]:
        """Ours: MixCo's term in Plain's one direction."""
        return mixed.projection, other.projection, None
