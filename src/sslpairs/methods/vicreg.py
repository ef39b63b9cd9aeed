"""VICReg (Bardes et al. 2022, arXiv 2105.04906): invariance, variance and covariance of the projections.

Lightly's loss takes the mean of the two views' variance terms, solo-learn their sum; the weights here are solo-learn's, because
DimCL's weight refers to them. Implemented here because lightly's selects the covariances by a boolean mask, for which the host
waits for the GPU.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sslpairs.methods.base import BaseMethod, Embeddings


def vicreg_loss(z1: Tensor, z2: Tensor, sim: float = 25.0, var: float = 25.0, cov: float = 1.0) -> Tensor:
    """``sim * mse(z1, z2) + var * (v(z1) + v(z2)) + cov * (c(z1) + c(z2))``; z raw ``[N, D]``: a scalar.

    v is the mean over dimensions of max(0, 1 - sqrt(variance + 1e-4)), c the sum of squared off-diagonal covariances over D.
    """
    variance, covariance = zip(*map(_terms, (z1, z2)), strict=True)
    return sim * F.mse_loss(z1, z2) + var * sum(variance) + cov * sum(covariance)


def _terms(z: Tensor) -> tuple[Tensor, Tensor]:
    centred = z - z.mean(0)
    products = centred.T @ centred / (len(z) - 1)
    variances = products.diagonal()
    others = products.square().sum() - variances.square().sum()
    return F.relu(1 - torch.sqrt(variances + 1e-4)).mean(), others / z.shape[1]


class VICReg(BaseMethod):
    """VICReg; its objective is ``vicreg_loss`` on the projections."""

    def pair_loss(self, a: Embeddings, b: Embeddings) -> Tensor:  # noqa: D102
        return vicreg_loss(a.projection, b.projection, self.settings.sim, self.settings.var, self.settings.cov)
