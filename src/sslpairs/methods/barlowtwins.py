"""Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230): make the views' cross-correlation matrix the identity.

Lightly's loss times solo-learn's ``scale_loss``, because DimCL's weight refers to solo-learn's scale.
"""

from lightly.loss import BarlowTwinsLoss
from torch import Tensor

from sslpairs.methods.base import BaseMethod, Embeddings


def barlow_loss(z1: Tensor, z2: Tensor, lamb: float = 0.0051, scale: float = 0.024) -> Tensor:
    """``scale * (sum_d (C_dd - 1)^2 + lamb * sum_(d != e) C_de^2)``; z raw ``[N, D]``, C their correlations: a scalar."""
    return scale * BarlowTwinsLoss(lambda_param=lamb)(z1, z2)


class BarlowTwins(BaseMethod):
    """Barlow Twins; its objective is ``barlow_loss`` on the projections."""

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return barlow_loss(a.projection, b.projection, self.settings.lamb, self.settings.scale)
