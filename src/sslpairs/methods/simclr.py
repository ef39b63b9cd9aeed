"""SimCLR (Chen et al. 2020, arXiv 2002.05709): contrast two views of an image against all other views of the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslpairs.methods.base import BaseMethod, Embeddings


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy, mean over the 2N rows; z raw ``[N, D]``.

    The same as lightly's ``NTXentLoss`` and the released code of MixCo, CLAE, DimCL and GPS; implemented here because lightly's
    selects its negatives by a boolean mask, for which the host waits for the GPU, and multiplies four times instead of once.
    """
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    rows = torch.arange(len(z), device=z.device)
    own = rows == rows[:, None]
    return F.cross_entropy((z @ z.T / temperature).masked_fill(own, -torch.inf), rows.roll(len(z1)))


class SimCLR(BaseMethod):
    """SimCLR; its objective is ``nt_xent`` on the projections."""

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return nt_xent(a.projection, b.projection, self.settings.temperature)

    def contrast(self, mixed: Embeddings, other: Embeddings, view: int) -> tuple[Tensor, Tensor, None]:
        """As in MixCo's released code, gradients flow into both sides (simclr/pretrain.py:183-204)."""
        return mixed.projection, other.projection, None
